//! Programs that make one system call and exit with its errno, written as machine code: a test
//! names a call by its number, whatever libc would say to it. For x86-64 and its 32-bit programs.

/// Where the programs are loaded.
const ADDRESS: u32 = 0x0040_0000;

/// How a program ends whose call succeeded: 0, or the negative of what it answered.
pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOSYS: i32 = 38;

/// A 64-bit program: `number(arguments...)`.
pub(crate) fn native(number: u32, arguments: &[u64]) -> Vec<u8> {
    // mov rdi, rsi, rdx, r10, r8, r9: an immediate of 64 bits each.
    const LOAD: [[u8; 2]; 6] =
        [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]];
    let mut code = Vec::new();
    for (load, argument) in LOAD.iter().zip(arguments.iter().chain(std::iter::repeat(&0))) {
        code.extend_from_slice(load);
        code.extend_from_slice(&argument.to_le_bytes());
    }
    code.push(0xb8); // mov eax, number
    code.extend_from_slice(&number.to_le_bytes());
    code.extend_from_slice(&[0x0f, 0x05]); // syscall
    code.extend_from_slice(&[0x89, 0xc7, 0xf7, 0xdf]); // mov edi, eax; neg edi
    code.extend_from_slice(&[0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(edi)
    elf64(&code)
}

/// A 32-bit program: `number(arguments...)`.
pub(crate) fn i386(number: u32, arguments: &[u32]) -> Vec<u8> {
    let mut code = Vec::new();
    // mov ebx, ecx, edx, esi, edi
    for (load, argument) in
        [0xbb, 0xb9, 0xba, 0xbe, 0xbf].iter().zip(arguments.iter().chain(std::iter::repeat(&0)))
    {
        code.push(*load);
        code.extend_from_slice(&argument.to_le_bytes());
    }
    code.push(0xb8); // mov eax, number
    code.extend_from_slice(&number.to_le_bytes());
    code.extend_from_slice(&[0xcd, 0x80]); // int 0x80
    code.extend_from_slice(&[0x89, 0xc3, 0xf7, 0xdb]); // mov ebx, eax; neg ebx
    code.extend_from_slice(&[0xb8, 1, 0, 0, 0, 0xcd, 0x80]); // exit(ebx)
    elf32(&code)
}

/// socketcall(SYS_SOCKET, {family, SOCK_STREAM, 0}): the arguments lie in memory.
pub(crate) fn socketcall(family: u32) -> Vec<u8> {
    const SOCKETCALL: u32 = 102;
    // The code's length does not depend on the address.
    let behind = u32::try_from(i386(SOCKETCALL, &[1, 0]).len()).expect("small");
    let mut program = i386(SOCKETCALL, &[1, ADDRESS + behind]);
    for argument in [family, 1, 0] {
        program.extend_from_slice(&argument.to_le_bytes());
    }
    program
}

/// elf(5): a header, one segment that is the whole file (and a page behind it), the code.
fn elf64(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let address = u64::from(ADDRESS);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2_u16, 62].map(u16::to_le_bytes).concat()); // ET_EXEC, EM_X86_64
    file.extend(1_u32.to_le_bytes());
    file.extend([address + HEADERS, 64, 0].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat()); // PT_LOAD, read and execute
    let size = HEADERS + code.len() as u64;
    file.extend([0, address, address, size, size, 4096].map(u64::to_le_bytes).concat());
    file.extend_from_slice(code);
    file
}

fn elf32(code: &[u8]) -> Vec<u8> {
    const HEADERS: u32 = 52 + 32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2_u16, 3].map(u16::to_le_bytes).concat()); // ET_EXEC, EM_386
    file.extend([1, ADDRESS + HEADERS, 52, 0, 0].map(u32::to_le_bytes).concat());
    file.extend([52_u16, 32, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    let size = HEADERS + u32::try_from(code.len()).expect("small") + 64;
    file.extend([1, 0, ADDRESS, ADDRESS, size, size, 5, 4096].map(u32::to_le_bytes).concat());
    file.extend_from_slice(code);
    // What a caller puts behind the code is in the segment as well.
    file
}

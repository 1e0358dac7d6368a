//! Between guest memory and the [`Device`]: takes packets out of the guest's buffers and puts
//! others in. Every buffer goes back to the guest, whatever was in it.

use std::io::{Read as _, Write as _};

use virtio_queue::{Queue, QueueOwnedT as _, QueueT as _, Reader};
use vm_memory::GuestMemoryMmap;

use crate::{
    device::Device,
    packet::{HEADER_LEN, Header, MAX_PAYLOAD},
};

/// Packets in one direction before the other has its turn.
const TURN: usize = 128;

/// What a turn has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing that could be done now.
    Nothing,
    /// There is more: another turn is needed.
    More,
}

/// Room for one payload, so that none is allocated for each packet.
pub(crate) type Payload = Box<[u8; MAX_PAYLOAD]>;

/// Takes the guest's packets.
///
/// # Errors
/// When the rings themselves are broken; the guest has to set them up anew.
pub(crate) fn take(
    queue: &mut Queue,
    memory: &GuestMemoryMmap,
    device: &mut Device,
    payload: &mut Payload,
) -> Result<Left, virtio_queue::Error> {
    for _ in 0..TURN {
        let Some(chain) = queue.iter(memory)?.next() else {
            if queue.enable_notification(memory)? {
                continue;
            }
            return Ok(Left::Nothing);
        };
        let head = chain.head_index();
        match chain.reader(memory) {
            Ok(reader) => receive(reader, device, payload),
            Err(error) => tracing::debug!(%error, "dropped a packet that is not in memory"),
        }
        queue.add_used(memory, head, 0)?;
    }
    Ok(Left::More)
}

fn receive(mut reader: Reader<'_>, device: &mut Device, payload: &mut Payload) {
    let mut bytes = [0; HEADER_LEN];
    if let Err(error) = reader.read_exact(&mut bytes) {
        tracing::debug!(%error, "dropped a packet without a whole header");
        return;
    }
    let mut header = Header::parse(&bytes);
    let data = usize::try_from(header.len).ok().and_then(|len| payload.get_mut(..len));
    let whole = data.and_then(|data| reader.read_exact(data).is_ok().then_some(&*data));
    let Some(data) = whole else {
        tracing::debug!(?header, "refused a packet that is longer than its buffer");
        // No operation has this number, so the connection is reset.
        header.op = 0;
        device.receive(&header, &[]);
        return;
    };
    device.receive(&header, data);
}

/// Gives the guest packets.
///
/// # Errors
/// As [`take`].
pub(crate) fn give(
    queue: &mut Queue,
    memory: &GuestMemoryMmap,
    device: &mut Device,
    payload: &mut Payload,
) -> Result<Left, virtio_queue::Error> {
    for _ in 0..TURN {
        if !device.wants_to_send() {
            return Ok(Left::Nothing);
        }
        let Some(chain) = queue.iter(memory)?.next() else {
            if queue.enable_notification(memory)? {
                continue;
            }
            // The guest tells when it has made room.
            return Ok(Left::Nothing);
        };
        let head = chain.head_index();
        let writer = chain.writer(memory).ok();
        // One that has no room for payload is of no use.
        let Some(mut writer) = writer.filter(|writer| writer.available_bytes() > HEADER_LEN) else {
            tracing::debug!("gave a buffer back that is too small");
            queue.add_used(memory, head, 0)?;
            continue;
        };
        let room = (writer.available_bytes() - HEADER_LEN).min(MAX_PAYLOAD);
        let Some(header) = device.next_packet(&mut payload[..room]) else {
            queue.go_to_previous_position();
            return Ok(Left::Nothing);
        };
        let data = &payload[..usize::try_from(header.len).unwrap_or(0).min(room)];
        // It fits, by the check above.
        let written = writer.write_all(&header.encode()).and_then(|()| writer.write_all(data));
        if let Err(error) = written {
            tracing::debug!(%error, "lost a packet to a buffer that is not in memory");
        }
        let length = u32::try_from(writer.bytes_written()).unwrap_or(0);
        queue.add_used(memory, head, length)?;
    }
    Ok(Left::More)
}

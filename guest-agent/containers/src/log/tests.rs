use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    config::{Rotation, Settings},
    format::Format,
    writer::LONGEST,
    *,
};

const ENDLESS: Rotation = Rotation { max_size: None, max_files: 1, compress: false };
const FORMATS: [Format; 2] = [Format::Json, Format::Local];

fn files(folder: &Path, format: Format, rotation: Rotation) -> Arc<LogFiles> {
    Arc::new(LogFiles::new(folder.join("log"), Settings { format, rotation }))
}

fn writer(files: &Arc<LogFiles>) -> Writer {
    Writer::open(Arc::clone(files), Attributes::new()).unwrap()
}

fn read(files: &Arc<LogFiles>, select: Select) -> Vec<Record> {
    let mut reader = Reader::open(Arc::clone(files), select, files.end()).unwrap();
    drain(&mut reader, files.end()).records
}

/// Everything up to `end`.
fn drain(reader: &mut Reader, end: Position) -> Batch {
    let mut all = Batch::default();
    loop {
        let batch = reader.next(end, 7).unwrap();
        if batch == Batch::default() {
            return all;
        }
        all.records.extend(batch.records);
        all.lost_files += batch.lost_files;
    }
}

fn bytes(records: &[Record], channel: Channel) -> Vec<u8> {
    let of = records.iter().filter(|record| record.channel == channel);
    of.flat_map(|record| record.line.to_vec()).collect()
}

fn text(records: &[Record], channel: Channel) -> String {
    String::from_utf8(bytes(records, channel)).unwrap()
}

/// Waits until nothing is left to compress.
fn compressed(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    while names().iter().any(|name| name != "log" && !name.ends_with(".gz")) {
        assert!(Instant::now() < deadline, "{:?}", names());
        std::thread::sleep(Duration::from_millis(2));
    }
}

proptest! {
    // Making up long strings is slow; the boundaries are met in a few cases already.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_was_written_is_read_back_in_order(
        chunks in proptest::collection::vec((any::<bool>(), "[a-z\n\"\\\\é]{0,9000}"), 0..12),
        local in any::<bool>(),
        max_size in proptest::option::of(2000_u64..40_000),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { max_size, max_files: 1000, compress: false };
        let files = files(folder.path(), FORMATS[usize::from(local)], rotation);
        let mut writer = writer(&files);
        let mut expected = [String::new(), String::new()];
        for (error, chunk) in &chunks {
            let channel = if *error { Channel::Stderr } else { Channel::Stdout };
            expected[channel as usize].push_str(chunk);
            writer.write(channel, chunk.as_bytes()).unwrap();
        }
        for channel in [Channel::Stdout, Channel::Stderr] {
            writer.finish(channel).unwrap();
        }
        prop_assert_eq!(writer.end(), files.end());
        let records = read(&files, Select::ALL);
        for channel in [Channel::Stdout, Channel::Stderr] {
            let got = bytes(&records, channel);
            // A part boundary may fall into a character; in JSON those become U+FFFD.
            if local || !String::from_utf8_lossy(&got).contains('\u{fffd}') {
                prop_assert_eq!(&got, expected[channel as usize].as_bytes());
            }
        }
    }

    #[test]
    fn tail_is_the_end_of_everything(
        count in 0_u64..60,
        lines in 0_usize..50,
        wide in 1_usize..9000,
        max_size in proptest::option::of(1_u64..60_000),
        compress in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { max_size, max_files: 4, compress: compress && max_size.is_some() };
        let files = files(folder.path(), Format::Json, rotation);
        let mut writer = writer(&files);
        for line in 0..lines {
            writer.write(Channel::Stdout, format!("{line:0wide$}\n").as_bytes()).unwrap();
        }
        if rotation.compress {
            compressed(folder.path());
        }
        let all = read(&files, Select::ALL);
        let tail = read(&files, Select { tail: Some(count), ..Select::ALL });
        let skip = all.len().saturating_sub(count as usize);
        prop_assert_eq!(&all[skip..], &tail[..]);
    }

    #[test]
    fn a_follower_over_rotations_sees_every_line_once(
        turns in proptest::collection::vec(1_u64..9, 1..40),
        max_files in 1_u64..4,
        compress in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        // A rotation every twelve lines or so: the reader is never behind by two.
        let compress = compress && max_files > 1;
        let rotation = Rotation { max_size: Some(1000), max_files, compress };
        let files = files(folder.path(), Format::Json, rotation);
        let mut writer = writer(&files);
        let mut reader = Reader::open(Arc::clone(&files), Select::ALL, files.end()).unwrap();
        let (mut written, mut seen) = (0_u64, Vec::new());
        for lines in turns {
            for _ in 0..lines {
                written += 1;
                writer.write(Channel::Stdout, format!("{written}\n").as_bytes()).unwrap();
            }
            let batch = drain(&mut reader, writer.end());
            prop_assert_eq!(batch.lost_files, 0);
            seen.extend(batch.records);
        }
        let expected: String = (1..=written).map(|line| format!("{line}\n")).collect();
        prop_assert_eq!(text(&seen, Channel::Stdout), expected);
    }
}

#[test]
fn rotation_keeps_so_many_files_of_that_size_and_the_newest_lines() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { max_size: Some(2000), max_files: 3, compress: false };
        let files = files(folder.path(), format, rotation);
        let mut writer = writer(&files);
        // One chunk that is many files long is cut at the right lines too.
        let chunk: String = (0..500).map(|line| format!("line {line}\n")).collect();
        writer.write(Channel::Stdout, chunk.as_bytes()).unwrap();
        for name in ["log", "log.1", "log.2"] {
            let size = folder.path().join(name).metadata().unwrap().len();
            assert!(size < 2000 + 200, "{name} has {size} bytes");
            assert!(name == "log" || size >= 2000, "{name} has {size} bytes");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        let kept = text(&read(&files, Select::ALL), Channel::Stdout);
        assert!(chunk.ends_with(&kept) && kept.len() > 200, "{kept}");
        // The next run goes on with what is there.
        drop(writer);
        let again = self::files(folder.path(), format, rotation);
        assert_eq!(again.current(), 2);
        assert_eq!(text(&read(&again, Select::ALL), Channel::Stdout), kept);
    }
}

#[test]
fn without_room_for_another_file_none_is_lost_and_the_last_goes_on() {
    use nix::mount::{MsFlags, mount};
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    // A mount namespace belongs to a thread.
    let work = || {
        let private = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).and_then(|()| {
            let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?;
            // Its own folder, and three files.
            let (flags, small) = (MsFlags::empty(), Some("nr_inodes=4"));
            mount(Some("tmpfs"), place, Some("tmpfs"), flags, small)
        });
        if let Err(errno) = private {
            println!("skipped: a small file system cannot be mounted: {errno}");
            return;
        }
        let rotation = Rotation { max_size: Some(500), max_files: 4, compress: false };
        let files = files(place, Format::Local, rotation);
        let mut writer = writer(&files);
        let mut chunk = String::new();
        let mut failed = 0;
        for number in 0..100 {
            let line = format!("line {number}\n");
            failed += u32::from(writer.write(Channel::Stdout, line.as_bytes()).is_err());
            chunk += &line;
        }
        assert!(failed > 1, "{failed} attempts failed");
        assert_eq!(text(&read(&files, Select::ALL), Channel::Stdout), chunk);
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
}

#[test]
fn what_was_rotated_away_is_compressed_and_read_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { max_size: Some(2000), max_files: 5, compress: true };
    let files = files(folder.path(), Format::Local, rotation);
    let mut writer = writer(&files);
    let chunk: String = (0..120).map(|line| format!("line {line}\n")).collect();
    writer.write(Channel::Stderr, chunk.as_bytes()).unwrap();
    compressed(folder.path());
    assert!(folder.path().join("log.2.gz").exists());
    assert_eq!(text(&read(&files, Select::ALL), Channel::Stderr), chunk);
    files.close();
}

#[test]
fn a_reader_that_was_left_behind_is_told_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { max_size: Some(500), max_files: 2, compress: false };
    let files = files(folder.path(), Format::Json, rotation);
    let mut writer = writer(&files);
    let mut reader = Reader::open(Arc::clone(&files), Select::ALL, files.end()).unwrap();
    for line in 0..100 {
        writer.write(Channel::Stdout, format!("line {line}\n").as_bytes()).unwrap();
    }
    let batch = drain(&mut reader, writer.end());
    assert!(batch.lost_files > 0);
    let lines = text(&batch.records, Channel::Stdout);
    assert!(lines.starts_with("line 0\n"), "the file that it had open is read to its end");
    assert!(lines.ends_with("line 99\n"), "{lines}");
}

#[test]
fn a_line_cut_off_by_a_crash_is_skipped_and_the_next_run_begins_a_line() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), format, ENDLESS);
        writer(&files).write(Channel::Stdout, b"whole\n").unwrap();
        let file = File::options().append(true).open(files.path()).unwrap();
        crate::io::append(&file, b"{\"log\":\"half").unwrap();
        assert_eq!(text(&read(&files, Select::ALL), Channel::Stdout), "whole\n");
        writer(&files).write(Channel::Stdout, b"next\n").unwrap();
        assert_eq!(text(&read(&files, Select::ALL), Channel::Stdout), "whole\nnext\n");
    }
}

#[test]
fn the_local_driver_keeps_bytes_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), Format::Local, ENDLESS);
    let mut writer = writer(&files);
    let mut odd: Vec<u8> = vec![b'x'; LONGEST + 5];
    odd.extend_from_slice(b" \xff \r\n\n no end");
    writer.write(Channel::Stdout, &odd).unwrap();
    writer.finish(Channel::Stdout).unwrap();
    assert_eq!(bytes(&read(&files, Select::ALL), Channel::Stdout), odd);
}

#[test]
fn since_and_until_bound_the_records() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), format, ENDLESS);
        let mut lines = Vec::new();
        for second in 0..10 {
            let time = Timestamp::from_second(1000 + second).unwrap().to_string();
            let line = second.to_string();
            format.encode(&mut lines, Channel::Stdout, &time, line.as_bytes(), None);
        }
        fs::write(files.path(), lines).unwrap();
        let at = |second| Timestamp::from_second(second).ok();
        let select = Select { since: at(1003), until: at(1005), ..Select::ALL };
        assert_eq!(text(&read(&files, select), Channel::Stdout), "345");
    }
}

#[test]
fn attributes_stand_beside_each_record_as_dockers_do() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), Format::Json, ENDLESS);
    let attributes = Attributes::from([("tag".to_owned(), "blue".to_owned())]);
    let mut writer = Writer::open(Arc::clone(&files), attributes.clone()).unwrap();
    writer.write(Channel::Stdout, b"hello\n").unwrap();
    let line = fs::read_to_string(files.path()).unwrap();
    let docker = r#"{"log":"hello\n","stream":"stdout","attrs":{"tag":"blue"},"time":""#;
    assert!(line.starts_with(docker), "{line}");
    assert_eq!(read(&files, Select::ALL)[0].attributes.as_deref(), Some(&attributes));
}

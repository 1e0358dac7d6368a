//! Stages, and the image that comes of them.

use crate::bench::Bench;

#[test]
fn stages_give_their_files_and_only_needed_ones_are_built() {
    let bench = Bench::new();
    let text = "FROM base AS one\nRUN write /out/a A\nFROM base AS unused\nRUN fail\n\
                FROM base AS two\nRUN write /out/b B\nFROM scratch\n\
                COPY --from=one /out/ /x/\nCOPY --from=two /out/b /x/\nCOPY --from=base /etc/group /g\n";
    let done = bench.build(text);
    assert_eq!(done.names("/x"), ["a", "b"]);
    assert!(done.text("/g").unwrap().starts_with("root"));
    assert!(bench.fails("FROM base\nCOPY --from=base /no /x\n").contains("base"));
    let missing = bench.fails("FROM base AS one\nRUN true\nFROM base\nCOPY --from=one /no /x\n");
    assert!(missing.contains("`/no`: not found in stage one"), "{missing}");
}

#[test]
fn instructions_are_told_in_the_order_of_the_file() {
    let mut bench = Bench::new();
    bench.threads = 1;
    let text = "FROM base AS one\nRUN write /made text\nENV A=1\nFROM scratch\n\
                COPY --from=one /made /x\n";
    assert_eq!(
        bench.build(text).instructions,
        [
            "1/5 FROM base AS one: begins",
            "1/5 FROM base AS one: done",
            "2/5 RUN write /made text: begins",
            "2/5 RUN write /made text: runs",
            "2/5 RUN write /made text: done",
            "3/5 ENV A=1: begins",
            "3/5 ENV A=1: nothing",
            "4/5 FROM scratch: begins",
            "4/5 FROM scratch: nothing",
            "5/5 COPY --from=one /made /x: begins",
            "5/5 COPY --from=one /made /x: done",
        ]
    );
    let again = bench.build(text).instructions;
    assert_eq!(again[2], "2/5 RUN write /made text: cached");
    assert_eq!(again.last().unwrap(), "5/5 COPY --from=one /made /x: cached");
}

#[test]
fn an_epoch_is_the_time_of_all_that_is_made() {
    let mut bench = Bench::new();
    bench.options.build_args.insert("SOURCE_DATE_EPOCH".into(), "1234".into());
    bench.file("f", "x");
    let text = "FROM base\nCOPY f /d/f\nRUN write /r x\nWORKDIR /w\n";
    let done = bench.build(text);
    for path in ["/d", "/d/f", "/r", "/w"] {
        assert_eq!(done.stat(path).unwrap().3, 1234, "{path}");
    }
    assert_eq!(done.config["created"], "1970-01-01T00:20:34Z");
    bench.options.no_cache = true;
    assert_eq!(bench.build(text).id, done.id);
}

#[test]
fn the_configuration_names_its_layers_and_history() {
    let bench = Bench::new();
    let done = bench.build("FROM base\nENV A=1\nRUN write /x y\nCMD [\"x\"]\n");
    let layers = done.config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let history = done.config["history"].as_array().unwrap();
    assert!(history.iter().all(|line| line["created"].is_string()), "{history:?}");
    assert_eq!(done.config["created"], history.last().unwrap()["created"]);
    let with_layers = history.iter().filter(|line| line["empty_layer"] != true).count();
    assert_eq!(with_layers, layers.len());
    assert_eq!(done.config["config"]["Cmd"], serde_json::json!(["x"]));
}

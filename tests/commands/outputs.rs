//! Files that a run writes destroy neither each other nor what somebody else has.

use crate::Folder;
use common::bag_writer::Spec;

#[test]
fn outputs_have_a_file_each() {
    let folder = Folder::new();
    let record = "record a.mcap -- demo --depth 64x48@30 --frames 3 --view none";
    std::fs::create_dir(folder.path("sub")).unwrap();
    let same = "the same file as a.mcap";
    let mut wrong = vec![
        ("--stats-out a.mcap", ["--stats-out a.mcap", same]),
        ("--stats-out sub/../a.mcap", ["--stats-out", "the same file"]),
    ];
    if cfg!(feature = "viewer") {
        wrong.push(("--save ./a.mcap", ["--save ./a.mcap", same]));
        wrong
            .push(("--save b.rrd --stats-out b.rrd", ["--stats", "the same file as --save b.rrd"]));
    }
    for (flags, words) in wrong {
        folder.refused(&format!("{record} {flags}"), 2, &words);
    }
    assert_eq!(folder.names("."), ["sub"], "nothing was begun");
    folder.run(&format!("{record} --stats-out a.jsonl")).ended(0);
}

#[test]
fn what_is_there_and_was_not_written_by_such_a_run_stays() {
    let folder = Folder::with_bag(&Spec::default());
    let bag = folder.read("made.bag");
    let demo =
        |flags: &str| folder.run(&format!("demo --depth 64x48@30 --frames 3 --view none {flags}"));
    let is_there = "is there already, and is not";
    let words = ["--stats-out made.bag", is_there, "choose another name"];
    demo("--stats-out made.bag").refused(2, &words);
    folder.refused("replay made.bag --view none --stats-out made.bag", 2, &["read from"]);
    std::os::unix::fs::symlink("made.bag", folder.path("link")).unwrap();
    demo("--stats-out link").refused(2, &[is_there]);
    if cfg!(feature = "viewer") {
        demo("--save made.bag").refused(2, &["--save made.bag", is_there]);
        (0..2).for_each(|_| drop(demo("--save x.rrd").ended(0))); // a .rrd is replaced
    }
    assert_eq!(folder.read("made.bag"), bag);
    folder.write("empty", "");
    for path in ["new.jsonl", "new.jsonl", "empty", "/dev/null"] {
        demo(&format!("--stats-out {path}")).ended(0);
    }
}

//! What is made of `proto/` is what is kept there.

use std::{fs, path::PathBuf};

use prost::Message;

use crate::support::project;

/// All of them.
const FILES: [&str; 2] = ["open_inference.proto", "health.proto"];

/// The Rust of all messages, and what reflection tells of them.
const KEPT: [&str; 3] = ["inference.rs", "grpc.health.v1.rs", "descriptors.bin"];

#[test]
fn generated_messages_are_those_of_the_protocol_files() {
    let proto = project().join("proto");
    let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("proto");
    fs::create_dir_all(&made).unwrap();
    let compile = |comments: bool| {
        let mut compiler = protox::Compiler::new([&proto]).unwrap();
        compiler.include_imports(true).include_source_info(comments).open_files(FILES).unwrap();
        compiler.file_descriptor_set()
    };
    let mut config = prost_build::Config::new();
    // Lent by the request, not copied out of it.
    config.bytes(["."]).out_dir(&made).compile_fds(compile(true)).unwrap();
    fs::write(made.join("descriptors.bin"), compile(false).encode_to_vec()).unwrap();
    for name in KEPT {
        let (new, kept) = (fs::read(made.join(name)).unwrap(), fs::read(proto.join(name)).unwrap_or_default());
        let copy = format!("cp {} {}", made.join(name).display(), proto.join(name).display());
        assert!(new == kept, "proto/{name} is not what its messages say; see what has changed, then: {copy}");
    }
}

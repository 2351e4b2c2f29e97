//! Lets the program and its tests find librealsense where pkg-config found it, without
//! LD_LIBRARY_PATH.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_REALSENSE").is_none() {
        return;
    }
    let library = match pkg_config::Config::new()
        .cargo_metadata(false)
        .env_metadata(true)
        .probe("realsense2")
    {
        Ok(library) => library,
        Err(error) => {
            println!(
                "cargo::error=librealsense not found by pkg-config: run `make setup` (or scripts/setup.sh), \
                 or build without cameras: cargo build --no-default-features --features viewer"
            );
            eprintln!("{error}");
            return;
        }
    };
    println!("cargo::rustc-env=DEPTHCAST_LIBREALSENSE_VERSION={}", library.version);
    // The library brings its own LZ4, and so does rerun, of another version. A program exports what
    // its shared libraries could use, which would put rerun's LZ4 under librealsense's player;
    // hidden, each keeps its own. Without this no compressed .bag plays.
    println!("cargo::rustc-link-arg=-Wl,--exclude-libs,ALL");
    // No directory where the library is in one of the system's own.
    for directory in library.link_paths {
        let directory = directory.canonicalize().unwrap_or(directory);
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", directory.display());
    }
    if let Ok(directory) = pkg_config::get_variable("realsense2", "pcfiledir") {
        println!("cargo::rerun-if-changed={directory}/realsense2.pc");
    }
}

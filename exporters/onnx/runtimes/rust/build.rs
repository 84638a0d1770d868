//! Compiles the C library next door with the system's C compiler (CC, or cc), and says where libonnxruntime lies:
//! ORT_LIB_DIR, or wherever the linker looks.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn run(command: &mut Command) {
    let status =
        command.status().unwrap_or_else(|err| panic!("{command:?}: {err}. Install a C compiler, or name one in CC."));
    assert!(status.success(), "{command:?}: {status}");
}

fn main() {
    let source = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../c");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let (object, library) = (out.join("sri_guard.o"), out.join("libsri_guard.a"));
    run(Command::new(compiler)
        .args(["-std=c11", "-O2", "-fPIC", "-c"])
        .arg(source.join("sri_guard.c"))
        .arg("-o")
        .arg(&object));
    run(Command::new(env::var("AR").unwrap_or_else(|_| "ar".into())).arg("rcs").arg(library).arg(object));
    for part in ["sri_guard.c", "sri_guard.h", "src"] {
        println!("cargo:rerun-if-changed={}", source.join(part).display());
    }
    for name in ["ORT_LIB_DIR", "CC", "AR"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static=sri_guard");
    println!("cargo:rustc-link-lib=dylib=onnxruntime");
    println!("cargo:rustc-link-lib=dylib=m");
    if let Ok(folder) = env::var("ORT_LIB_DIR") {
        println!("cargo:rustc-link-search=native={folder}");
        if cfg!(unix) {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        }
    }
}

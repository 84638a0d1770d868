//! Says where libonnxruntime lies: ORT_LIB_DIR, or wherever the linker looks.

fn main() {
    println!("cargo:rerun-if-env-changed=ORT_LIB_DIR");
    println!("cargo:rustc-link-lib=dylib=onnxruntime");
    if let Ok(folder) = std::env::var("ORT_LIB_DIR") {
        println!("cargo:rustc-link-search=native={folder}");
        if cfg!(unix) {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        }
    }
}

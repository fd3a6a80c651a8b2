//! The configurations are embedded: the crate is compiled anew when one of them changes.

fn main() {
    println!("cargo:rerun-if-changed=configs");
}

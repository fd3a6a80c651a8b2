//! `cargo bench`: the operations that training, evaluation and labelling are made of, at the sizes they have there.
//!
//! `cargo bench -- conv` runs those with `conv` in their name, `RAYON_NUM_THREADS=1 cargo bench` all of them
//! on one thread. What a whole network takes is told by `partial-res bench`.

mod data;
mod decoding;
mod masks;
mod operations;

/// Enough for a median, few enough that all of them take a minute or two on two cores.
const SAMPLES: u32 = 7;

fn main() {
    // As the program does it, which explains why.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: no other thread has been started.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    rayon::scope(|_| divan::Divan::default().sample_count(SAMPLES).sample_size(1).config_with_args().main());
}

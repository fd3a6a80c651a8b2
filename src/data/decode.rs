//! Image files to pixels.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

/// Reads a JPEG or PNG file, recognised by its content: 8-bit RGB, turned as its exif data says
/// (quirk 40), grey replicated, transparency dropped.
///
/// JPEG leaves rounding to the decoder: against OpenCV's (libjpeg-turbo), values differ by at most
/// a few units (`tests/data_golden.rs` has the figures).
///
/// The error is what is wrong with the file, in words.
pub fn read_image(path: &Path) -> Result<RgbImage, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    decode(&bytes)
}

/// [`read_image`] for bytes in memory.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("is neither a JPEG nor a PNG file".to_owned());
    }
    let broken = |error: image::ImageError| format!("cannot be decoded ({error})");
    let mut decoder = reader.into_decoder().map_err(broken)?;
    // What a broken header announces must not be allocated.
    Limits::default().reserve(decoder.total_bytes()).map_err(broken)?;
    let orientation = decoder.orientation().map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    if image.width() == 0 || image.height() == 0 {
        return Err("has no pixels".to_owned());
    }
    Ok(image)
}

//! Image files to pixels.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

/// No compression makes more bytes of one than this: deflate, which PNG uses, at most 1 032, JPEG less.
const MOST_PER_BYTE: u64 = 1100;
/// Palettes and headers aside.
const ALWAYS: u64 = 1 << 20;

/// Reads a JPEG or PNG file, recognised by its content: 8-bit RGB, turned as its exif data says
/// (quirk 40), grey replicated, transparency dropped.
///
/// JPEG leaves rounding to the decoder: against OpenCV's (libjpeg-turbo), values differ by at most
/// a few units (`tests/data_golden.rs` has the figures), with the feature `turbojpeg` by nothing.
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
    #[cfg(feature = "turbojpeg")]
    let is_jpeg = reader.format() == Some(image::ImageFormat::Jpeg);
    let broken = |error: image::ImageError| format!("cannot be decoded ({error})");
    let mut decoder = reader.into_decoder().map_err(broken)?;
    // What a broken header announces must not be allocated.
    let announced = decoder.total_bytes();
    Limits::default().reserve(announced).map_err(broken)?;
    if announced > MOST_PER_BYTE * bytes.len() as u64 + ALWAYS {
        let (width, height) = decoder.dimensions();
        let length = bytes.len();
        return Err(format!("is said to have {width} x {height} pixels, which {length} bytes can't hold"));
    }
    let orientation = decoder.orientation().map_err(broken)?;
    #[cfg(feature = "turbojpeg")]
    let fast = if is_jpeg { by_turbojpeg(bytes, announced) } else { None };
    #[cfg(not(feature = "turbojpeg"))]
    let fast = None;
    let mut image = match fast {
        Some(image) => image,
        None => DynamicImage::from_decoder(decoder).map_err(broken)?,
    };
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    if image.width() == 0 || image.height() == 0 {
        return Err("has no pixels".to_owned());
    }
    Ok(image)
}

/// A JPEG file of at most `most` bytes of pixels by libjpeg-turbo. What that refuses (inks, broken files) is for the
/// other decoder to decide about.
#[cfg(feature = "turbojpeg")]
fn by_turbojpeg(bytes: &[u8], most: u64) -> Option<DynamicImage> {
    let mut decompressor = turbojpeg::Decompressor::new().ok()?;
    let header = decompressor.read_header(bytes).ok()?;
    let inks = matches!(header.colorspace, turbojpeg::Colorspace::CMYK | turbojpeg::Colorspace::YCCK);
    // A grey file was announced with a byte a pixel.
    if inks || (header.width * header.height) as u64 > most {
        return None;
    }
    let mut pixels = vec![0; 3 * header.width * header.height];
    let target = turbojpeg::Image {
        pixels: pixels.as_mut_slice(),
        width: header.width,
        pitch: 3 * header.width,
        height: header.height,
        format: turbojpeg::PixelFormat::RGB,
    };
    decompressor.decompress(bytes, target).ok()?;
    RgbImage::from_raw(header.width.try_into().ok()?, header.height.try_into().ok()?, pixels).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        RgbImage::new(width, height).write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        bytes
    }

    /// A black image is as small as a file can be; one that says it is larger lies.
    #[test]
    fn memory_is_taken_for_what_a_file_can_hold() {
        assert_eq!(decode(&png(2000, 1500)).unwrap().dimensions(), (2000, 1500));

        let mut lie = png(9, 9);
        lie[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
        let mut crc = flate2::Crc::new();
        crc.update(&lie[12..29]);
        lie[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let message = decode(&lie).unwrap_err();
        assert!(message.contains("is said to have 8192 x 8192 pixels"), "{message}");
    }
}

//! Image files to pixels.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

/// No compression makes more bytes of one than this: deflate, which PNG uses, at most 1 032, JPEG less. A
/// PNG file's few bits a pixel become bytes only after that ([`packed_png`]).
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
    let is_png = reader.format() == Some(image::ImageFormat::Png);
    #[cfg(feature = "turbojpeg")]
    let is_jpeg = reader.format() == Some(image::ImageFormat::Jpeg);
    let broken = |error: image::ImageError| format!("cannot be decoded ({error})");
    let mut decoder = reader.into_decoder().map_err(broken)?;
    // What a broken header announces must not be allocated.
    let announced = decoder.total_bytes();
    Limits::default().reserve(announced).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let packed = if is_png { packed_png(bytes, width, height) } else { announced };
    if packed > MOST_PER_BYTE * bytes.len() as u64 + ALWAYS {
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

/// Bytes of the rows of a PNG file, whose header comes first, before palettes and small greys are made
/// bytes: a pixel may be a bit.
fn packed_png(bytes: &[u8], width: u32, height: u32) -> u64 {
    let (depth, kind) = (u64::from(bytes[24]), bytes[25]);
    let channels = match kind {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    let row = 1 + (u64::from(width) * channels * depth).div_ceil(8);
    row * u64::from(height)
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
    use std::io::Write;

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        RgbImage::new(width, height).write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        bytes
    }

    /// A bit a pixel, all of them 0.
    fn bilevel_png(side: usize, palette: bool) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut chunk = |name: &[u8], data: &[u8]| {
            let content = [name, data].concat();
            let mut crc = flate2::Crc::new();
            crc.update(&content);
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(content);
            bytes.extend(crc.sum().to_be_bytes());
        };
        let length = (side as u32).to_be_bytes();
        chunk(b"IHDR", &[&length[..], &length, &[1, if palette { 3 } else { 0 }, 0, 0, 0]].concat());
        if palette {
            chunk(b"PLTE", &[9, 8, 7, 255, 255, 255]);
        }
        let mut pixels = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        pixels.write_all(&vec![0; side * (1 + side.div_ceil(8))]).unwrap();
        chunk(b"IDAT", &pixels.finish().unwrap());
        chunk(b"IEND", &[]);
        bytes
    }

    /// A black image is as small as a file can be; one that says it is larger lies.
    #[test]
    fn memory_is_taken_for_what_a_file_can_hold() {
        assert_eq!(decode(&png(2000, 1500)).unwrap().dimensions(), (2000, 1500));
        // Too many pixels for the file where each is a byte, but not where it is a bit.
        for (palette, colour) in [(false, [0, 0, 0]), (true, [9, 8, 7])] {
            let file = bilevel_png(4000, palette);
            assert!(MOST_PER_BYTE * file.len() as u64 + ALWAYS < 4000 * 4000);
            assert_eq!(decode(&file).unwrap().get_pixel(3999, 3999).0, colour);
        }

        let mut lie = png(9, 9);
        lie[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
        let mut crc = flate2::Crc::new();
        crc.update(&lie[12..29]);
        lie[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let message = decode(&lie).unwrap_err();
        assert!(message.contains("is said to have 8192 x 8192 pixels"), "{message}");
    }
}

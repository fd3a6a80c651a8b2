//! Several pictures on one.

use image::RgbImage;

use super::canvas::{Canvas, WHITE};

/// The pictures in rows of `columns`, on white: column widths and row heights as the largest needs.
pub fn contact_sheet(pictures: &[RgbImage], columns: usize) -> RgbImage {
    let columns = columns.clamp(1, pictures.len().max(1));
    let largest = |sizes: &mut dyn Iterator<Item = u32>| sizes.max().unwrap_or(1) as usize;
    let widths: Vec<usize> = (0..columns)
        .map(|column| largest(&mut pictures.iter().skip(column).step_by(columns).map(RgbImage::width)))
        .collect();
    let heights: Vec<usize> =
        pictures.chunks(columns).map(|row| largest(&mut row.iter().map(RgbImage::height))).collect();
    let mut canvas =
        Canvas::blank(widths.iter().sum::<usize>().max(1), heights.iter().sum::<usize>().max(1), WHITE);
    for (i, picture) in pictures.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        canvas.paste(picture, widths[..column].iter().sum(), heights[..row].iter().sum());
    }
    canvas.into_picture()
}

/// The pictures in one row, such as ground truth | prediction.
pub fn side_by_side(pictures: &[RgbImage]) -> RgbImage {
    contact_sheet(pictures, pictures.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_fit_the_largest() {
        let picture = |w, h| RgbImage::from_pixel(w, h, image::Rgb([9; 3]));
        let sheet = contact_sheet(&[picture(10, 4), picture(5, 8), picture(3, 2)], 2);
        assert_eq!(sheet.dimensions(), (15, 10));
        assert_eq!((sheet.get_pixel(2, 9).0, sheet.get_pixel(3, 9).0), ([9; 3], WHITE));
        assert_eq!(contact_sheet(&[], 4).dimensions(), (1, 1));
    }
}

use crate::mask::{MaskError, Rle};

/// How badly the mask's shadows on the two axes fit those of the box, 0 to 2: the sum of two
/// one-dimensional dice losses, in float32 like the reference. A mask without pixels has 2.
pub fn projection_term(mask: &Rle, bbox: &Rle) -> Result<f32, MaskError> {
    bbox.check_size(mask.height(), mask.width())?;
    let (of_mask, of_box) = (mask.shadows(), bbox.shadows());
    Ok(dice_loss(&of_mask.columns, &of_box.columns) + dice_loss(&of_mask.rows, &of_box.rows))
}

fn dice_loss(a: &[bool], b: &[bool]) -> f32 {
    let (mut both, mut sum) = (0u32, 0u32);
    for (&a, &b) in a.iter().zip(b) {
        both += u32::from(a && b);
        sum += u32::from(a) + u32::from(b);
    }
    1.0 - 2.0 * both as f32 / (sum as f32 + 1e-5)
}

/// The pixels of the box `[x, y, width, height]` of an annotation: all four numbers lose their
/// fraction first, as in the reference (quirk 44). What lies outside of the image is cut off.
pub fn box_mask(bbox: [f64; 4], height: usize, width: usize) -> Result<Rle, MaskError> {
    Rle::from_box(height, width, bbox.map(f64::trunc))
}

//! Text on pictures, anti-aliased, in the embedded DejaVu Sans.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScaleFont, ScaleFont};

use super::canvas::{Canvas, Colour};

static SANS: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(dejavu::sans::regular()).expect("the embedded font is a font"));

/// Height of a line of text of this size, in pixels.
pub fn line_height(size: f64) -> usize {
    (1.15 * size).ceil() as usize
}

fn scaled(size: f64) -> PxScaleFont<&'static FontRef<'static>> {
    SANS.as_scaled(size as f32)
}

/// Width of `text` in pixels, without line breaks.
pub fn width(text: &str, size: f64) -> f64 {
    layout(text, size).1
}

/// Glyphs with their x, and the whole width.
fn layout(text: &str, size: f64) -> (Vec<(ab_glyph::GlyphId, f32)>, f64) {
    let font = scaled(size);
    let (mut x, mut last, mut glyphs) = (0f32, None, Vec::new());
    for c in text.chars() {
        let id = font.glyph_id(c);
        x += last.map_or(0.0, |last| font.kern(last, id));
        glyphs.push((id, x));
        x += font.h_advance(id);
        last = Some(id);
    }
    (glyphs, f64::from(x))
}

/// Breaks `text` at blanks so that no line is wider than `room` pixels; a word that is wider by
/// itself is broken inside.
pub fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("starts with one line");
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if width(&longer, size) <= room {
            *line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(String::new());
        }
        for c in word.chars() {
            let line = lines.last_mut().expect("starts with one line");
            if !line.is_empty() && width(&format!("{line}{c}"), size) > room {
                lines.push(c.to_string());
            } else {
                line.push(c);
            }
        }
    }
    lines
}

impl Canvas {
    /// One line of text whose top left corner is at `x, y`.
    pub fn text(&mut self, [x, y]: [f64; 2], size: f64, colour: Colour, text: &str) {
        let font = scaled(size);
        let baseline = y as f32 + font.ascent();
        for (id, offset) in layout(text, size).0 {
            let glyph = id.with_scale_and_position(size as f32, ab_glyph::point(x as f32 + offset, baseline));
            if let Some(outlined) = SANS.outline_glyph(glyph) {
                let origin = outlined.px_bounds().min;
                outlined.draw(|dx, dy, coverage| {
                    let at = (origin.x as i64 + i64::from(dx), origin.y as i64 + i64::from(dy));
                    self.blend(at.0, at.1, colour, f64::from(coverage));
                });
            }
        }
    }

    /// Text with a border, legible on any ground, centred at `x, y`.
    pub fn label(&mut self, [x, y]: [f64; 2], size: f64, colour: Colour, border: Colour, text: &str) {
        let corner = [x - width(text, size) / 2.0, y - line_height(size) as f64 / 2.0];
        for step in 0..8 {
            let angle = f64::from(step) * std::f64::consts::FRAC_PI_4;
            self.text([corner[0] + 1.3 * angle.cos(), corner[1] + 1.3 * angle.sin()], size, border, text);
        }
        self.text(corner, size, colour, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_fit_and_lose_nothing() {
        let text = "the small red star left of the supercalifragilisticexpialidocious ring";
        let lines = wrap(text, 14.0, 120.0);
        assert!(lines.len() > 3);
        assert!(lines.iter().all(|line| width(line, 14.0) <= 120.0), "{lines:?}");
        let joined: String = lines.concat().split_whitespace().collect();
        assert_eq!(joined, text.split_whitespace().collect::<String>());
    }
}

#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::mask::{Rle, Segmentation};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(rle) = Rle::from_compressed(37, 53, text) {
        assert_eq!(rle.to_mask().area() as u64, rle.area());
        let again = Rle::from_compressed(37, 53, &rle.to_compressed()).expect("what was written is read");
        assert_eq!(again.to_mask(), rle.to_mask());
    }
    if let Ok(segmentation) = serde_json::from_str::<Segmentation>(text) {
        let (height, width) = match segmentation {
            Segmentation::Polygons(_) => (37, 53),
            Segmentation::Compressed { size, .. } | Segmentation::Counts { size, .. } => (size[0], size[1]),
        };
        if let Ok(rle) = segmentation.to_rle(height, width) {
            assert!(rle.area() <= (height * width) as u64);
        }
        if height.saturating_mul(width) < 1 << 16 {
            drop(segmentation.to_mask(height, width));
        }
    }
});

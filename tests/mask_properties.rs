//! Masks against slow, separate implementations that look at every pixel. `PROPTEST_CASES` sets
//! the number of random cases (256).

use partial_res::mask::{Mask, Merge, Rle, find_contours, iou_matrix, vertices};
use proptest::prelude::*;

/// A mask of blobs or noise, 1 to 40 pixels a side.
fn mask() -> impl Strategy<Value = Mask> {
    (1usize..40, 1usize..40).prop_flat_map(|(height, width)| mask_of(height, width))
}

fn mask_of(height: usize, width: usize) -> impl Strategy<Value = Mask> {
    // Patches of one value give long runs, single pixels short ones.
    let patch = (0..height, 0..width, 1usize..20, 1usize..20, 0u8..2);
    (0u8..2, prop::collection::vec(patch, 0..12), prop::collection::vec((0..height, 0..width), 0..60))
        .prop_map(move |(ground, patches, flips)| {
            let mut pixels = vec![ground; height * width];
            for (top, left, tall, wide, value) in patches {
                for y in top..height.min(top + tall) {
                    pixels[y * width + left..y * width + width.min(left + wide)].fill(value);
                }
            }
            for (y, x) in flips {
                pixels[y * width + x] ^= 1;
            }
            Mask { height, width, pixels }
        })
}

fn masks_of_one_size() -> impl Strategy<Value = Vec<Mask>> {
    (1usize..30, 1usize..30).prop_flat_map(|(h, w)| prop::collection::vec(mask_of(h, w), 1..5))
}

/// Height, width and points that lie inside, outside, on the edges and on the grid's ties.
fn polygon() -> impl Strategy<Value = (usize, usize, Vec<f64>)> {
    (1usize..50, 1usize..50).prop_flat_map(|(height, width)| {
        let coordinate = |side: usize| {
            let (low, high) = (-15.0, side as f64 + 15.0);
            prop_oneof![
                low..high,
                (low..high).prop_map(f64::round),
                (low..high).prop_map(|v| (v * 10.0).round() / 10.0),
                Just(0.0),
                Just(side as f64),
            ]
        };
        let point = (coordinate(width), coordinate(height));
        let points = prop::collection::vec(point, 0..14);
        points.prop_map(move |points| (height, width, points.into_iter().flat_map(|(x, y)| [x, y]).collect()))
    })
}

/// pycocotools' rasteriser as it is written there: every point of the outline on the grid of
/// fifths, the crossings between columns, and a pixel is inside below an odd number of them.
fn slow_polygon(height: usize, width: usize, polygon: &[f64]) -> Mask {
    let fine = |v: f64| (5.0 * v + 0.5) as i64;
    let corners: Vec<(i64, i64)> = polygon.chunks(2).map(|p| (fine(p[0]), fine(p[1]))).collect();
    let mut outline = Vec::new();
    for (i, &(x1, y1)) in corners.iter().enumerate() {
        let (x2, y2) = corners[(i + 1) % corners.len()];
        let (dx, dy) = ((x2 - x1).abs(), (y2 - y1).abs());
        let turned = if dx >= dy { x1 > x2 } else { y1 > y2 };
        let (xs, ys, xe, ye) = if turned { (x2, y2, x1, y1) } else { (x1, y1, x2, y2) };
        let mut edge: Vec<(i64, i64)> = (0..=dx.max(dy))
            .map(|t| {
                if dx == 0 && dy == 0 {
                    (xs, ys)
                } else if dx >= dy {
                    let slope = (ye - ys) as f64 / dx as f64;
                    (xs + t, (ys as f64 + slope * t as f64 + 0.5) as i64)
                } else {
                    let slope = (xe - xs) as f64 / dy as f64;
                    ((xs as f64 + slope * t as f64 + 0.5) as i64, ys + t)
                }
            })
            .collect();
        if turned {
            edge.reverse();
        }
        outline.extend(edge);
    }
    let mut below = vec![0u32; height * width];
    for step in outline.windows(2).filter(|step| step[0].0 != step[1].0) {
        let x = (step[0].0.min(step[1].0) as f64 + 0.5) / 5.0 - 0.5;
        if x.fract() != 0.0 || x < 0.0 || x > width as f64 - 1.0 {
            continue;
        }
        let y = ((step[0].1.min(step[1].1) as f64 + 0.5) / 5.0 - 0.5).clamp(0.0, height as f64).ceil();
        for y in y as usize..height {
            below[y * width + x as usize] += 1;
        }
    }
    Mask { height, width, pixels: below.into_iter().map(|count| (count % 2) as u8).collect() }
}

/// Run lengths, pixel by pixel.
fn slow_rle(mask: &Mask) -> Vec<u32> {
    let mut counts = vec![0];
    for x in 0..mask.width {
        for y in 0..mask.height {
            if mask.get(x, y) != (counts.len() % 2 == 0) {
                counts.push(0);
            }
            *counts.last_mut().unwrap() += 1;
        }
    }
    counts
}

/// COCO's string by its definition: each number in the fewest base-32 digits that hold it in two's
/// complement, lowest first, 32 added to all but the last.
fn slow_string(counts: &[u32]) -> String {
    let mut text = String::new();
    for (i, &count) in counts.iter().enumerate() {
        let value = i128::from(count) - if i > 2 { i128::from(counts[i - 2]) } else { 0 };
        let digits = (1..).find(|&n| (-(1i128 << (5 * n - 1))..1 << (5 * n - 1)).contains(&value)).unwrap();
        let unsigned = value.rem_euclid(1 << (5 * digits));
        for digit in 0..digits {
            let bits = (unsigned / 32i128.pow(digit) % 32) as u8 + if digit + 1 < digits { 32 } else { 0 };
            text.push((b'0' + bits) as char);
        }
    }
    text
}

/// The parts of the pixels for which `belongs`, as a part number per pixel. Background that
/// reaches the image's edge is part 0.
fn parts(mask: &Mask, foreground: bool) -> (Vec<Option<usize>>, usize) {
    let (h, w) = (mask.height as i32, mask.width as i32);
    let steps: &[(i32, i32)] = if foreground {
        &[(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    } else {
        &[(1, 0), (-1, 0), (0, 1), (0, -1)]
    };
    let mut part = vec![None; mask.pixels.len()];
    let mut found = if foreground { 0 } else { 1 };
    let edge_first = |&(x, y): &(i32, i32)| !(x == 0 || y == 0 || x == w - 1 || y == h - 1);
    let mut seeds: Vec<(i32, i32)> = (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).collect();
    seeds.sort_by_key(edge_first);
    for seed in seeds {
        let at = |(x, y): (i32, i32)| (y * w + x) as usize;
        if part[at(seed)].is_some() || (mask.pixels[at(seed)] != 0) != foreground {
            continue;
        }
        let number = if foreground || edge_first(&seed) { found } else { 0 };
        found += usize::from(number == found);
        let mut pending = vec![seed];
        part[at(seed)] = Some(number);
        while let Some((x, y)) = pending.pop() {
            for (dx, dy) in steps {
                let next = (x + dx, y + dy);
                let inside = (0..w).contains(&next.0) && (0..h).contains(&next.1);
                if inside && part[at(next)].is_none() && (mask.pixels[at(next)] != 0) == foreground {
                    part[at(next)] = Some(number);
                    pending.push(next);
                }
            }
        }
    }
    (part, found)
}

proptest! {
    #[test]
    fn masks_run_lengths_and_strings_are_the_same_thing(mask in mask()) {
        let rle = mask.to_rle().unwrap();
        prop_assert_eq!(rle.counts(), slow_rle(&mask));
        prop_assert_eq!(&rle.to_mask(), &mask);
        let text = rle.to_compressed();
        prop_assert_eq!(&text, &slow_string(rle.counts()));
        prop_assert_eq!(&Rle::from_compressed(mask.height, mask.width, &text).unwrap(), &rle);
        prop_assert_eq!(rle.area(), mask.pixels.iter().map(|&p| u64::from(p)).sum::<u64>());

        let shadows = rle.shadows();
        let columns = (0..mask.width).map(|x| (0..mask.height).any(|y| mask.get(x, y)));
        let rows = (0..mask.height).map(|y| (0..mask.width).any(|x| mask.get(x, y)));
        prop_assert_eq!(&shadows.columns, &columns.collect::<Vec<_>>());
        prop_assert_eq!(&shadows.rows, &rows.collect::<Vec<_>>());
        let range = |set: &[bool]| set.iter().position(|&s| s).zip(set.iter().rposition(|&s| s));
        let (xs, ys) = (range(&shadows.columns), range(&shadows.rows));
        let expected = match (xs, ys) {
            (Some((x1, x2)), Some((y1, y2))) => [x1, y1, x2 - x1 + 1, y2 - y1 + 1],
            _ => [0; 4],
        };
        prop_assert_eq!(rle.bounding_box().map(|v| v as usize), expected);
    }

    #[test]
    fn any_run_lengths_are_a_mask(mut counts in prop::collection::vec(0u32..200, 0..20), width in 1usize..30) {
        // Empty runs may stand anywhere; the rest of the last column is filled up.
        let sum: u32 = counts.iter().sum();
        let height = (sum as usize).div_ceil(width).max(1);
        counts.push((height * width) as u32 - sum);
        let rle = Rle::new(height, width, counts.clone()).unwrap();
        prop_assert_eq!(&Rle::from_compressed(height, width, &slow_string(&counts)).unwrap(), &rle);
        let mask = rle.to_mask();
        prop_assert_eq!(rle.area() as usize, mask.area());
        let tidy = mask.to_rle().unwrap();
        prop_assert_eq!(rle.bounding_box(), tidy.bounding_box());
        prop_assert_eq!(rle.intersection_and_union(&tidy).unwrap(), (rle.area(), rle.area()));
        prop_assert_eq!(Rle::merge(&[rle.clone(), rle], Merge::Intersection).unwrap(), tidy);
    }

    #[test]
    fn any_string_is_run_lengths_or_an_error(text in "[\\x00-\\x7f]{0,12}|[0-o]{0,30}", height in 0usize..2000, width in 0usize..2000) {
        if let Ok(rle) = Rle::from_compressed(height, width, &text) {
            prop_assert_eq!(rle.counts().iter().map(|&c| c as usize).sum::<usize>(), height * width);
        }
    }

    #[test]
    fn polygons_equal_the_slow_rasteriser((height, width, polygon) in polygon()) {
        let found = Rle::from_polygon(height, width, &polygon).unwrap();
        prop_assert_eq!(found.to_mask(), slow_polygon(height, width, &polygon));
        prop_assert_eq!(found.counts(), slow_rle(&found.to_mask()));
    }

    #[test]
    fn polygons_of_any_numbers_are_masks_or_errors(polygon in prop::collection::vec(any::<f64>(), 0..12)) {
        match Rle::from_polygon(17, 23, &polygon) {
            Ok(rle) => prop_assert!(rle.area() <= 17 * 23),
            Err(_) => prop_assert!(polygon.len() % 2 == 1 || polygon.iter().any(|v| !v.is_finite())),
        }
    }

    #[test]
    fn unions_intersections_and_iou_count_pixels(masks in masks_of_one_size(), crowd in any::<bool>()) {
        let rles: Vec<Rle> = masks.iter().map(|mask| mask.to_rle().unwrap()).collect();
        let (height, width) = (masks[0].height, masks[0].width);
        let pixels = |join: fn(u8, u8) -> u8| {
            let join_all = |at: usize| masks.iter().map(|mask| mask.pixels[at]).reduce(join).unwrap();
            Mask { height, width, pixels: (0..height * width).map(join_all).collect() }
        };
        prop_assert_eq!(Rle::merge(&rles, Merge::Union).unwrap(), pixels(|a, b| a | b).to_rle().unwrap());
        prop_assert_eq!(Rle::merge(&rles, Merge::Intersection).unwrap(), pixels(|a, b| a & b).to_rle().unwrap());

        let matrix = iou_matrix(&rles, &rles, &vec![crowd; rles.len()]).unwrap();
        for (a, row) in masks.iter().zip(matrix) {
            for (b, found) in masks.iter().zip(row) {
                let count = |join: fn(u8, u8) -> u8| {
                    a.pixels.iter().zip(&b.pixels).filter(|&(&a, &b)| join(a, b) != 0).count()
                };
                let both = count(|a, b| a & b);
                let whole = if crowd { a.area() } else { count(|a, b| a | b) };
                prop_assert_eq!(found, if both == 0 { 0.0 } else { both as f64 / whole as f64 });
            }
        }
    }

    #[test]
    fn contours_run_around_every_part_and_hole(mask in mask()) {
        let contours = find_contours(&mask);
        let (part, parts_found) = parts(&mask, true);
        let (ground, grounds_found) = parts(&mask, false);
        prop_assert_eq!(contours.iter().filter(|c| !c.is_hole).count(), parts_found);
        prop_assert_eq!(contours.iter().filter(|c| c.is_hole).count(), grounds_found - 1);

        let (h, w) = (mask.height as i32, mask.width as i32);
        let ground_at = |x: i32, y: i32| {
            let inside = (0..w).contains(&x) && (0..h).contains(&y);
            if inside { ground[(y * w + x) as usize] } else { Some(0) }
        };
        let around = |[x, y]: [u32; 2]| {
            let (x, y) = (x as i32, y as i32);
            [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)].map(|(x, y)| ground_at(x, y))
        };
        let mut on_a_border = vec![false; mask.pixels.len()];
        for (i, contour) in contours.iter().enumerate() {
            let part_of = |[x, y]: [u32; 2]| part[(y * mask.width as u32 + x) as usize];
            let first = part_of(contour.points[0]);
            prop_assert!(first.is_some());
            // All points belong to one part and touch one background; steps go to a neighbour.
            let common = around(contour.points[0])
                .into_iter()
                .flatten()
                .find(|&g| contour.points.iter().all(|&p| around(p).contains(&Some(g))));
            prop_assert!(common.is_some());
            for (&from, &to) in contour.points.iter().zip(contour.points.iter().cycle().skip(1)) {
                prop_assert_eq!(part_of(from), first);
                prop_assert!(from[0].abs_diff(to[0]) <= 1 && from[1].abs_diff(to[1]) <= 1);
                on_a_border[from[1] as usize * mask.width + from[0] as usize] = true;
            }
            match contour.parent {
                None => prop_assert!(!contour.is_hole),
                Some(parent) => {
                    prop_assert!(parent < i && contours[parent].is_hole != contour.is_hole);
                    prop_assert!(!contour.is_hole || part_of(contours[parent].points[0]) == first);
                }
            }
        }
        // The borders together are all pixels with background beside them.
        for y in 0..mask.height {
            for x in 0..mask.width {
                let beside = mask.get(x, y) && around([x as u32, y as u32]).iter().any(Option::is_some);
                prop_assert_eq!(on_a_border[y * mask.width + x], beside);
            }
        }
        for count in [1, 12, 18] {
            let vertices = vertices(&mask, count);
            prop_assert!(vertices.len() <= count);
            prop_assert_eq!(vertices.is_empty(), contours.iter().all(|contour| contour.area() == 0.0));
        }
    }
}

//! Convolution as matrix products over tiles of the output, and its transposes.

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use super::super::matrix::{Matrix, Target, all_threads, multiply};
use super::super::storage::with_scratch;
use super::blocked::Convolution;
use super::direct::{self, Direct};
use super::finish::Finishing;
use super::im2col::{Geometry, add_patches, patches};
use super::tiling::TileSize;
use super::winograd::{kernel_gradients, tile_size};

/// The kernels `[o, patch]` and the sizes they are used with.
#[derive(Clone, Copy)]
pub struct Kernels<'a> {
    pub w: &'a [f32],
    pub o: usize,
    pub g: &'a Geometry,
    /// Of Winograd's way forward, where that is faster.
    pub tile: TileSize,
}

/// A piece of the output that is one matrix product: whole images, or rows of a single one.
#[derive(Clone, Debug)]
struct Tile {
    images: Range<usize>,
    rows: Range<usize>,
}

impl Tile {
    fn columns(&self, g: &Geometry) -> usize {
        self.images.len() * self.rows.len() * g.out_width
    }
}

/// Products with fewer columns waste time on packing: small maps share a product.
const LEAST_COLUMNS: usize = 256;
/// Patch matrices stay in the second-level cache where the kernels allow it.
const PATCH_NUMBERS: usize = 1 << 19;

fn images_per_tile(g: &Geometry) -> usize {
    LEAST_COLUMNS.div_ceil(g.out_plane())
}

fn tiles(n: usize, g: &Geometry) -> Vec<Tile> {
    let together = images_per_tile(g);
    let rows = if together > 1 || g.is_pointwise() {
        g.out_height
    } else {
        let columns = (PATCH_NUMBERS / g.patch()).max(LEAST_COLUMNS);
        (columns / g.out_width).clamp(1, g.out_height)
    };
    (0..n)
        .step_by(together)
        .flat_map(|i| {
            (0..g.out_height).step_by(rows).map(move |y| Tile {
                images: i..(i + together).min(n),
                rows: y..(y + rows).min(g.out_height),
            })
        })
        .collect()
}

/// Calls `f` for every chunk with its index, on all threads or on this one.
fn for_chunks(data: &mut [f32], size: usize, parallelism: Parallelism, f: impl Fn(usize, &mut [f32]) + Sync) {
    match parallelism {
        Parallelism::None => data.chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk)),
        Parallelism::Rayon(_) => data.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk)),
    }
}

/// The patch matrix of a tile, `[patch, columns]`.
fn gather_patches(x: &[f32], g: &Geometry, tile: &Tile, matrix: &mut [f32], parallelism: Parallelism) {
    let (columns, plane) = (tile.columns(g), g.height * g.width);
    for_chunks(matrix, g.kernel[0] * g.kernel[1] * columns, parallelism, |channel, rows| {
        for (place, image) in tile.images.clone().enumerate() {
            let from = image * g.image() + channel * plane;
            let column = place * tile.rows.len() * g.out_width;
            patches(&x[from..from + plane], g, tile.rows.clone(), rows, columns, column);
        }
    });
}

/// Which gradients somebody waits for.
#[derive(Clone, Copy)]
pub struct Needed {
    pub x: bool,
    pub w: bool,
}

/// Of the images and of the kernels, where needed.
pub type Gradients = (Option<Vec<f32>>, Option<Vec<f32>>);

/// Numbers that partial gradients of the kernels may take.
const PARTIAL_NUMBERS: usize = 1 << 22;

impl Kernels<'_> {
    /// The convolution of `n` images, finished while it is warm.
    pub fn forward(self, x: &[f32], n: usize, finishing: Finishing) -> Vec<f32> {
        let Self { w, g, o, .. } = self;
        if let Some(tile) = tile_size(g, self.tile, n, o) {
            return Convolution { w, transposed: false, o, g, tile, finishing }.run(x, n);
        }
        if direct::applies(g) {
            return Direct { w, o, g, finishing }.run(x, n);
        }
        let (plane, out_image) = (g.out_plane(), o * g.out_plane());
        let mut out = vec![0f32; n * out_image];
        let together = images_per_tile(g);
        let group = together * out_image;
        if group == 0 {
            return out;
        }
        let threads = all_threads();
        let run = |index: usize, out: &mut [f32], inner: Parallelism| {
            let first = index * together;
            let images = out.len() / out_image;
            let x = &x[first * g.image()..(first + images) * g.image()];
            for tile in tiles(images, g) {
                self.forward_tile(x, &tile, out, inner);
            }
            if !finishing.is_nothing() {
                for_chunks(out, plane, inner, |index, to| {
                    finishing.in_place(first * o + index, o, to);
                });
            }
        };
        if n.div_ceil(together) >= rayon::current_num_threads() {
            for_chunks(&mut out, group, threads, |index, out| run(index, out, Parallelism::None));
        } else {
            for_chunks(&mut out, group, Parallelism::None, |index, out| run(index, out, threads));
        }
        out
    }

    fn forward_tile(self, x: &[f32], tile: &Tile, out: &mut [f32], inner: Parallelism) {
        let Self { w, o, g, .. } = self;
        let (k, columns, plane) = (g.patch(), tile.columns(g), g.out_plane());
        let kernels = Matrix::new(w, o, k);
        let into_image = |out: &mut [f32], patches: Matrix| {
            let start = tile.images.start * o * plane + tile.rows.start * g.out_width;
            multiply(kernels, patches, Target { data: &mut out[start..], stride: plane, add: false }, inner);
        };
        if g.is_pointwise() && tile.images.len() == 1 {
            return into_image(out, Matrix::new(&x[tile.images.start * g.image()..], k, columns));
        }
        with_scratch(k * columns, |matrix| {
            gather_patches(x, g, tile, matrix, inner);
            let patches = Matrix::new(matrix, k, columns);
            if tile.images.len() == 1 {
                return into_image(out, patches);
            }
            with_scratch(o * columns, |product| {
                multiply(kernels, patches, Target { data: product, stride: columns, add: false }, inner);
                for (place, image) in tile.images.clone().enumerate() {
                    let planes = out[image * o * plane..(image + 1) * o * plane].chunks_exact_mut(plane);
                    for (to, from) in planes.zip(product.chunks_exact(columns)) {
                        to.copy_from_slice(&from[place * plane..(place + 1) * plane]);
                    }
                }
            });
        });
    }

    /// The gradients of the images and of the kernels.
    pub fn backward(self, x: &[f32], grad: &[f32], n: usize, needed: Needed) -> Gradients {
        let Self { w, o, g, .. } = self;
        if tile_size(g, TileSize::Two, n, o) == Some(TileSize::Two) {
            let dx = needed.x.then(|| {
                let turned = &Geometry { channels: o, ..*g };
                let finishing = Finishing::default();
                let tile = TileSize::Two;
                Convolution { w, transposed: true, o: g.channels, g: turned, tile, finishing }.run(grad, n)
            });
            return (dx, needed.w.then(|| kernel_gradients(g, x, grad, n)));
        }
        // The gradient of the kernels is summed over images in parts that depend on the sizes alone,
        // so that it doesn't depend on the number of threads.
        let together = images_per_tile(g);
        let parts = n.div_ceil(together).min(16).min(PARTIAL_NUMBERS / w.len().max(1)).max(1);
        let images = n.div_ceil(together).div_ceil(parts).max(1) * together;
        let mut dx = vec![0f32; if needed.x { x.len() } else { 0 }];
        let mut dx_parts: Vec<Option<&mut [f32]>> = if needed.x {
            dx.chunks_mut(images * g.image()).map(Some).collect()
        } else {
            (0..n.div_ceil(images)).map(|_| None).collect()
        };
        let run = |(index, dx): (usize, &mut Option<&mut [f32]>), inner: Parallelism| {
            let first = index * images;
            let count = images.min(n - first);
            let x = &x[first * g.image()..(first + count) * g.image()];
            let grad = &grad[first * o * g.out_plane()..(first + count) * o * g.out_plane()];
            let mut dw = needed.w.then(|| vec![0f32; w.len()]);
            for tile in tiles(count, g) {
                self.backward_tile(x, grad, &tile, dx.as_deref_mut(), dw.as_deref_mut(), inner);
            }
            dw
        };
        let partial: Vec<Option<Vec<f32>>> = if dx_parts.len() >= rayon::current_num_threads() {
            dx_parts.par_iter_mut().enumerate().map(|part| run(part, Parallelism::None)).collect()
        } else {
            dx_parts.iter_mut().enumerate().map(|part| run(part, all_threads())).collect()
        };
        let dw = partial.into_iter().flatten().reduce(|mut sum, part| {
            for (a, b) in sum.iter_mut().zip(part) {
                *a += b;
            }
            sum
        });
        (needed.x.then_some(dx), dw)
    }

    fn backward_tile(
        self,
        x: &[f32],
        grad: &[f32],
        tile: &Tile,
        dx: Option<&mut [f32]>,
        dw: Option<&mut [f32]>,
        inner: Parallelism,
    ) {
        let Self { w, o, g, .. } = self;
        let (k, columns, plane) = (g.patch(), tile.columns(g), g.out_plane());
        let single = tile.images.len() == 1;
        let direct = single && g.is_pointwise();
        let gathered = if single { 0 } else { o * columns };
        with_scratch(gathered, |buffer| {
            let grad = if single {
                let start = tile.images.start * o * plane + tile.rows.start * g.out_width;
                Matrix::with_stride(&grad[start..], o, columns, plane)
            } else {
                for (row, to) in buffer.chunks_exact_mut(columns).enumerate() {
                    for (image, to) in tile.images.clone().zip(to.chunks_exact_mut(plane)) {
                        to.copy_from_slice(&grad[(image * o + row) * plane..][..plane]);
                    }
                }
                Matrix::new(buffer, o, columns)
            };
            let image = tile.images.start * g.image();
            with_scratch(if direct { 0 } else { k * columns }, |matrix| {
                if let Some(dw) = dw {
                    let patches = if direct {
                        Matrix::new(&x[image..], k, columns)
                    } else {
                        gather_patches(x, g, tile, matrix, inner);
                        Matrix::new(matrix, k, columns)
                    };
                    multiply(grad, patches.transposed(), Target { data: dw, stride: k, add: true }, inner);
                }
                let Some(dx) = dx else { return };
                let kernels = Matrix::new(w, o, k).transposed();
                if direct {
                    let data = &mut dx[image..image + g.image()];
                    return multiply(kernels, grad, Target { data, stride: columns, add: false }, inner);
                }
                multiply(kernels, grad, Target { data: matrix, stride: columns, add: false }, inner);
                let rows = g.kernel[0] * g.kernel[1] * columns;
                let images = &mut dx[image..tile.images.end * g.image()];
                for_chunks(images, g.height * g.width, inner, |index, plane| {
                    let (place, channel) = (index / g.channels, index % g.channels);
                    let column = place * tile.rows.len() * g.out_width;
                    add_patches(&matrix[channel * rows..], columns, column, g, tile.rows.clone(), plane);
                });
            });
        });
    }
}

//! Convolution on CUDA through cuDNN, with the gradients that are needed only.
//!
//! The algorithms are deterministic, so that a resumed training does on a GPU, too, what the unbroken one
//! would have done, and none takes gigabytes of workspace where another doesn't.

mod library;
#[cfg(test)]
mod tests;

use std::ops::Range;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t, cudnnConvolutionBwdFilterAlgo_t,
};
use candle_core::cuda_backend::cudarc::cudnn::{ConvBackwardData, ConvBackwardFilter};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor, bail,
};
use half::bf16;

use self::library::{Descriptors, Element, Library, Order, Problem, is_refusal, with_library, workspace};
use super::super::cuda::view;
use super::im2col::Geometry;
use super::{Conv2d, geometry};

/// Whether tensors like this one are convolved here.
pub fn applies(tensor: &Tensor) -> bool {
    tensor.device().is_cuda() && matches!(tensor.dtype(), DType::F32 | DType::BF16)
}

/// The convolution of `x` with the kernels `w`.
pub fn forward(
    conv: &Conv2d,
    x: (&CudaStorage, &Layout),
    w: (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let batch = Batch::of(conv, x.1.shape(), w.1.shape(), Order::ChannelsFirst)?;
    let shape = (batch.n, batch.o, batch.g.out_height, batch.g.out_width).into();
    Ok((batch.run(Direction::Forward, x, w)?, shape))
}

/// The convolution `[n, h', w', o]`, without gradient, of images and kernels with channels last, whose shapes with
/// channels first are given; none where cuDNN has no way to do it.
pub fn convolve_pixels(
    conv: &Conv2d,
    (x, images): (&Tensor, &Shape),
    (w, kernels): (&Tensor, &Shape),
) -> Result<Option<Tensor>> {
    let batch = Batch::of(conv, images, kernels, Order::ChannelsLast)?;
    let shape = Shape::from((batch.n, batch.g.out_height, batch.g.out_width, batch.o));
    let direction = Direction::Forward;
    match x.apply_op2_no_bwd(w, &Piecewise { batch, direction, shape }) {
        Err(error) if is_refusal(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// The gradients of the images and of the kernels, of those that are tracked.
pub fn backward(
    conv: &Conv2d,
    x: &Tensor,
    w: &Tensor,
    grad: &Tensor,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (x, w, grad) = (x.contiguous()?, w.contiguous()?, grad.contiguous()?);
    let gradient = |direction, of: &Tensor| -> Result<Piecewise> {
        let batch = Batch::of(conv, x.shape(), w.shape(), Order::ChannelsFirst)?;
        Ok(Piecewise { batch, direction, shape: of.shape().clone() })
    };
    let dx =
        x.track_op().then(|| w.apply_op2_no_bwd(&grad, &gradient(Direction::ToImages, &x)?)).transpose()?;
    let dw =
        w.track_op().then(|| x.apply_op2_no_bwd(&grad, &gradient(Direction::ToKernels, &w)?)).transpose()?;
    Ok((dx, dw))
}

/// What is computed, and of what.
#[derive(Clone, Copy)]
enum Direction {
    /// Outputs, of images and kernels.
    Forward,
    /// The gradient of the images, of kernels and the gradient of the outputs.
    ToImages,
    /// The gradient of the kernels, of images and the gradient of the outputs.
    ToKernels,
}

/// A computation without gradient.
struct Piecewise {
    batch: Batch,
    direction: Direction,
    /// Of the result.
    shape: Shape,
}

impl CustomOp2 for Piecewise {
    fn name(&self) -> &'static str {
        "conv2d by cuDNN"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("cuDNN has no tensors on the CPU")
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Ok((self.batch.run(self.direction, (a, a_layout), (b, b_layout))?, self.shape.clone()))
    }
}

/// Numbers of a tensor that one call can address; larger batches are done in pieces.
const MOST_NUMBERS: usize = i32::MAX as usize;

/// A convolution of a whole batch.
struct Batch {
    n: usize,
    o: usize,
    g: Geometry,
    order: Order,
}

impl Batch {
    /// Of images and kernels whose shapes with channels first are given.
    fn of(conv: &Conv2d, x: &Shape, w: &Shape, order: Order) -> Result<Self> {
        let (n, g, o) = geometry(x, w, conv.stride, conv.padding)?;
        Ok(Self { n, o, g, order })
    }

    fn run(
        &self,
        direction: Direction,
        a: (&CudaStorage, &Layout),
        b: (&CudaStorage, &Layout),
    ) -> Result<CudaStorage> {
        match (a.0.dtype(), b.0.dtype()) {
            (DType::F32, DType::F32) => self.run_typed::<f32>(direction, a, b),
            (DType::BF16, DType::BF16) => self.run_typed::<bf16>(direction, a, b),
            (a, b) => bail!("can't convolve {a:?} with {b:?} on CUDA: expected both in f32 or both in bf16"),
        }
    }

    fn run_typed<T: Element>(
        &self,
        direction: Direction,
        a: (&CudaStorage, &Layout),
        b: (&CudaStorage, &Layout),
    ) -> Result<CudaStorage> {
        let device = a.0.device();
        let (a, b) = (view::<T>(a)?, view::<T>(b)?);
        let result = match direction {
            Direction::Forward => self.forward(device, &a, &b),
            Direction::ToImages => self.to_images(device, &a, &b),
            Direction::ToKernels => self.to_kernels(device, &a, &b),
        };
        let result =
            result.map_err(|error| {
                let Geometry { channels, height, width, kernel: [kh, kw], stride, padding, .. } = self.g;
                error.context(format!(
                "cuDNN: {} x {channels} x {height} x {width} by {} kernels of {kh} x {kw}, stride {stride}, \
                 padding {padding}, in {:?}",
                self.n, self.o, T::DTYPE
            ))
            })?;
        Ok(CudaStorage::wrap_cuda_slice(result, device.clone()))
    }

    /// Numbers of an image and of its output.
    fn sizes(&self) -> [usize; 2] {
        [self.g.image(), self.o * self.g.out_plane()]
    }

    /// Calls `f` for every piece of the batch: the library, the piece as a problem with its descriptors, and where
    /// it lies in the images and in the outputs.
    fn in_pieces<T: Element>(
        &self,
        device: &CudaDevice,
        mut f: impl FnMut(&mut Library, (Problem, &Descriptors<T>), [Range<usize>; 2]) -> Result<()>,
    ) -> Result<()> {
        let sizes = self.sizes();
        for images in pieces(self.n, sizes[0].max(sizes[1])) {
            let (n, dtype, math) = (images.len(), T::DTYPE, T::math());
            let problem = Problem { n, o: self.o, g: self.g, order: self.order, dtype, math };
            let places = sizes.map(|size| images.start * size..images.end * size);
            with_library(device, |library| {
                let descriptors = Descriptors::new(&library.cudnn, problem)?;
                f(library, (problem, &descriptors), places)
            })?;
        }
        Ok(())
    }

    fn forward<T: Element>(
        &self,
        device: &CudaDevice,
        x: &CudaView<T>,
        w: &CudaView<T>,
    ) -> Result<CudaSlice<T>> {
        // SAFETY: with beta 0 the pieces write all of it and read nothing.
        let mut y = unsafe { device.alloc::<T>(self.n * self.sizes()[1]) }?;
        self.in_pieces(device, |library, piece, [of_x, of_y]| {
            let (algorithm, bytes) = library.plan_forward(piece)?;
            let conv = piece.1.forward();
            let (mut scratch, x, mut y) = (workspace(device, bytes)?, x.slice(of_x), y.slice_mut(of_y));
            // SAFETY: the views have the sizes and the type of the descriptors.
            let run =
                unsafe { conv.launch(algorithm, scratch.as_mut(), (T::WHOLE, T::NOTHING), &x, w, &mut y) };
            run.map_err(|error| {
                let error = Error::from(error);
                if self.order == Order::ChannelsLast && is_refusal(&error) {
                    library.forward.refuse(piece.0, &error);
                }
                error
            })
        })?;
        Ok(y)
    }

    fn to_images<T: Element>(
        &self,
        device: &CudaDevice,
        w: &CudaView<T>,
        dy: &CudaView<T>,
    ) -> Result<CudaSlice<T>> {
        use cudnnConvolutionBwdDataAlgo_t::{
            CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 as IN_ANY_ORDER, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 as IMPLICIT,
        };
        // SAFETY: with beta 0 the pieces write all of it and read nothing.
        let mut dx = unsafe { device.alloc::<T>(self.n * self.sizes()[0]) }?;
        self.in_pieces(device, |library, (problem, d), [of_x, of_y]| {
            let conv = ConvBackwardData { conv: &d.conv, dx: &d.x, w: &d.w, dy: &d.y };
            let bytes = |algorithm| Ok(conv.get_workspace_size(algorithm)?);
            let choice = || conv.pick_algorithm().ok();
            let (algorithm, bytes) =
                library.images.plan(problem, choice, (IMPLICIT, &[IN_ANY_ORDER]), bytes)?;
            let (mut scratch, mut dx, dy) = (workspace(device, bytes)?, dx.slice_mut(of_x), dy.slice(of_y));
            // SAFETY: the views have the sizes and the type of the descriptors.
            unsafe { conv.launch(algorithm, scratch.as_mut(), (T::WHOLE, T::NOTHING), &mut dx, w, &dy) }?;
            Ok(())
        })?;
        Ok(dx)
    }

    fn to_kernels<T: Element>(
        &self,
        device: &CudaDevice,
        x: &CudaView<T>,
        dy: &CudaView<T>,
    ) -> Result<CudaSlice<T>> {
        use cudnnConvolutionBwdFilterAlgo_t::{
            CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 as IN_ANY_ORDER,
            CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 as IMPLICIT,
            CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3 as IN_ANY_ORDER_TOO,
        };
        // SAFETY: the first piece, with beta 0, writes all of it and reads nothing.
        let mut dw = unsafe { device.alloc::<T>(self.o * self.g.patch()) }?;
        self.in_pieces(device, |library, (problem, d), [of_x, of_y]| {
            let conv = ConvBackwardFilter { conv: &d.conv, x: &d.x, dw: &d.w, dy: &d.y };
            let bytes = |algorithm| Ok(conv.get_workspace_size(algorithm)?);
            let choice = || conv.pick_algorithm().ok();
            let fallback = (IMPLICIT, &[IN_ANY_ORDER, IN_ANY_ORDER_TOO][..]);
            let (algorithm, bytes) = library.kernels.plan(problem, choice, fallback, bytes)?;
            // Later pieces add to the sum.
            let beta = if of_x.start == 0 { T::NOTHING } else { T::WHOLE };
            let (mut scratch, x, dy) = (workspace(device, bytes)?, x.slice(of_x), dy.slice(of_y));
            // SAFETY: the views have the sizes and the type of the descriptors.
            unsafe { conv.launch(algorithm, scratch.as_mut(), (T::WHOLE, beta), &x, &mut dw, &dy) }?;
            Ok(())
        })?;
        Ok(dw)
    }
}

/// The `n` images of a batch in pieces, of tensors that have up to `numbers` an image.
fn pieces(n: usize, numbers: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (MOST_NUMBERS / numbers.max(1)).max(1);
    (0..n).step_by(most).map(move |first| first..(first + most).min(n))
}

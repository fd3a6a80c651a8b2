//! cuDNN's handles, its choices of algorithms, and descriptors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t, cudnnConvolutionBwdFilterAlgo_t, cudnnConvolutionFwdAlgo_t,
    cudnnConvolutionMode_t, cudnnMathType_t, cudnnTensorFormat_t,
};
use candle_core::cuda_backend::cudarc::cudnn::{
    ConvDescriptor, ConvForward, Cudnn, CudnnDataType, FilterDescriptor, TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
use candle_core::cuda_backend::{CudaDType, DeviceId, gemm_reduced_precision_f32};
use candle_core::{CudaDevice, DType, Error, Result, WithDType};
use half::bf16;

use super::super::im2col::Geometry;

/// Numbers that cuDNN can convolve; it sums them in f32.
pub trait Element: WithDType + CudaDType + CudnnDataType + DeviceRepr {
    const NOTHING: Self;
    const WHOLE: Self;

    fn math() -> cudnnMathType_t;
}

impl Element for f32 {
    const NOTHING: Self = 0.0;
    const WHOLE: Self = 1.0;

    /// The rule that candle has for matrix products: whole f32 unless TF32 is asked for.
    fn math() -> cudnnMathType_t {
        if gemm_reduced_precision_f32() {
            cudnnMathType_t::CUDNN_DEFAULT_MATH
        } else {
            cudnnMathType_t::CUDNN_FMA_MATH
        }
    }
}

impl Element for bf16 {
    const NOTHING: Self = bf16::ZERO;
    const WHOLE: Self = bf16::ONE;

    fn math() -> cudnnMathType_t {
        cudnnMathType_t::CUDNN_TENSOR_OP_MATH
    }
}

/// Where the channels of images and kernels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `[n, c, h, w]`
    ChannelsFirst,
    /// `[n, h, w, c]`, which tensor cores read; computed forward only.
    ChannelsLast,
}

/// What cuDNN's choice of an algorithm depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Images.
    pub n: usize,
    /// Channels of the output.
    pub o: usize,
    pub g: Geometry,
    pub order: Order,
    pub dtype: DType,
    pub math: cudnnMathType_t,
}

/// Bytes of workspace above which the fallback is taken instead of what cuDNN would choose.
const MOST_WORKSPACE: usize = 1 << 30;

/// The algorithms of problems met before, and their bytes of workspace; the error where there is none.
pub struct Plans<A>(HashMap<Problem, std::result::Result<(A, usize), String>>);

impl<A> Default for Plans<A> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<A: Copy + PartialEq> Plans<A> {
    /// From now on there is no plan for a problem.
    pub fn refuse(&mut self, problem: Problem, why: &Error) {
        self.0.insert(problem, Err(why.to_string()));
    }

    /// cuDNN's choice; `fallback` where it has none that runs within the limit of workspace, or one of `avoided`.
    pub fn plan(
        &mut self,
        problem: Problem,
        choice: impl FnOnce() -> Option<A>,
        (fallback, avoided): (A, &[A]),
        workspace: impl Fn(A) -> Result<usize>,
    ) -> Result<(A, usize)> {
        if let Some(plan) = self.0.get(&problem) {
            return plan.clone().map_err(Error::Msg);
        }
        let fitting = choice().filter(|choice| !avoided.contains(choice)).and_then(|choice| {
            let bytes = workspace(choice).ok().filter(|&bytes| bytes <= MOST_WORKSPACE)?;
            Some((choice, bytes))
        });
        let plan = match fitting {
            Some(plan) => Ok(plan),
            None => workspace(fallback).map(|bytes| (fallback, bytes)),
        };
        self.0.insert(problem, plan.as_ref().copied().map_err(Error::to_string));
        plan
    }
}

/// cuDNN on one device, for one thread.
pub struct Library {
    pub cudnn: Arc<Cudnn>,
    pub forward: Plans<cudnnConvolutionFwdAlgo_t>,
    pub images: Plans<cudnnConvolutionBwdDataAlgo_t>,
    pub kernels: Plans<cudnnConvolutionBwdFilterAlgo_t>,
}

impl Library {
    /// The algorithm of a convolution, and its bytes of workspace.
    pub fn plan_forward<T: Element>(
        &mut self,
        (problem, descriptors): (Problem, &Descriptors<T>),
    ) -> Result<(cudnnConvolutionFwdAlgo_t, usize)> {
        const IMPLICIT: cudnnConvolutionFwdAlgo_t =
            cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
        let conv = descriptors.forward();
        let bytes = |algorithm| Ok(conv.get_workspace_size(algorithm)?);
        self.forward.plan(problem, || conv.pick_algorithm().ok(), (IMPLICIT, &[]), bytes)
    }
}

/// Whether cuDNN failed because it has no such kernel, which it says when asked for an algorithm's workspace or, having
/// named one, when that is run; cudarc gives its status by name.
pub fn is_refusal(error: &Error) -> bool {
    let said = error.to_string();
    ["_NOT_SUPPORTED", "_BAD_PARAM", "_EXECUTION_FAILED"].iter().any(|status| said.contains(status))
}

thread_local! {
    // Two threads must not use one handle.
    static LIBRARIES: RefCell<HashMap<DeviceId, Library>> = RefCell::default();
}

/// Calls `f` with this thread's cuDNN of the device, which works on the device's stream.
pub fn with_library<R>(device: &CudaDevice, f: impl FnOnce(&mut Library) -> Result<R>) -> Result<R> {
    LIBRARIES.with_borrow_mut(|libraries| match libraries.entry(device.id()) {
        Entry::Occupied(known) => f(known.into_mut()),
        Entry::Vacant(place) => f(place.insert(Library {
            cudnn: Cudnn::new(device.cuda_stream())?,
            forward: Plans::default(),
            images: Plans::default(),
            kernels: Plans::default(),
        })),
    })
}

/// The descriptors of a problem over dense tensors: images, kernels, outputs.
pub struct Descriptors<T> {
    pub conv: ConvDescriptor<f32>,
    pub x: TensorDescriptor<T>,
    pub w: FilterDescriptor<T>,
    pub y: TensorDescriptor<T>,
}

impl<T: Element> Descriptors<T> {
    pub fn new(cudnn: &Arc<Cudnn>, Problem { n, o, g, order, math, .. }: Problem) -> Result<Self> {
        let dense = match order {
            Order::ChannelsFirst => cudnnTensorFormat_t::CUDNN_TENSOR_NCHW,
            Order::ChannelsLast => cudnnTensorFormat_t::CUDNN_TENSOR_NHWC,
        };
        let both = |size: usize| [int(size), int(size)];
        let ([kh, kw], mode) = (g.kernel, cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION);
        let mut conv = cudnn.create_conv2d(both(g.padding), both(g.stride), [1, 1], mode)?;
        conv.set_math_type(math)?;
        Ok(Self {
            conv,
            x: cudnn.create_4d_tensor(dense, [n, g.channels, g.height, g.width].map(int))?,
            w: cudnn.create_4d_filter(dense, [o, g.channels, kh, kw].map(int))?,
            y: cudnn.create_4d_tensor(dense, [n, o, g.out_height, g.out_width].map(int))?,
        })
    }

    pub fn forward(&self) -> ConvForward<'_, T, f32, T> {
        ConvForward { conv: &self.conv, x: &self.x, w: &self.w, y: &self.y }
    }
}

/// A size as cuDNN takes it; it refuses negative ones.
fn int(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(-1)
}

/// Workspace of this many bytes, of any content; CUDA has no allocations of none.
pub fn workspace(device: &CudaDevice, bytes: usize) -> Result<Option<CudaSlice<u8>>> {
    // SAFETY: bytes have no invalid values, and cuDNN writes its workspace before it reads it.
    (bytes > 0).then(|| unsafe { device.alloc::<u8>(bytes) }).transpose()
}

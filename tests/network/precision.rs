//! Half precision, and other devices.

#[cfg(feature = "cuda")]
use std::collections::HashMap;
#[cfg(feature = "cuda")]
use std::sync::Mutex;

#[cfg(feature = "cuda")]
use candle_core::cuda::set_gemm_reduced_precision_f32;
#[cfg(feature = "cuda")]
use candle_core::{DType, Device};
use candle_core::{Result, Tensor};
use partial_res::config::Task;
#[cfg(feature = "cuda")]
use partial_res::config::{AuxiliaryConfig, ModelConfig};
use partial_res::model::Network;
#[cfg(feature = "cuda")]
use partial_res::model::{Answer, Inputs, Strategy};
#[cfg(feature = "cuda")]
use partial_res::nn::Parameters;
use partial_res::nn::{Arithmetic, Pass};
use partial_res::random::Stream;

#[cfg(feature = "cuda")]
use super::{VOCABULARY, targets, variants};
use super::{create, inputs, small};

/// What bf16 changes is small, is not nothing, and in training is where the backbone is frozen.
#[test]
fn bf16_is_for_what_is_not_trained() -> Result<()> {
    let fused = |frozen: usize, bf16: bool, training: bool| -> Result<Tensor> {
        let mut cfg = small(Task::Segmentation, true);
        cfg.darknet.frozen = frozen;
        let (network, _) = create(&cfg, 12)?;
        let pass = match training {
            true => Pass::training(Stream::new(0, "dropout")),
            false => Pass::evaluation(),
        };
        let pass = pass.in_bf16(bf16).watching();
        network.forward(&inputs(&[0, 1, 2])?, &pass).unwrap();
        Ok(pass.watched()["level2"].clone())
    };
    let difference = |a: &Tensor, b: &Tensor| -> Result<f32> {
        let largest = b.abs()?.max_all()?.to_scalar::<f32>()?;
        Ok((a - b)?.abs()?.max_all()?.to_scalar::<f32>()? / largest)
    };
    for training in [false, true] {
        let exact = fused(14, false, training)?;
        let found = difference(&fused(14, true, training)?, &exact)?;
        assert!(found > 1e-4 && found < 0.1, "{found}");
        assert!(difference(&fused(3, true, training)?, &exact)? > 1e-5);
        let trained = difference(&fused(0, true, training)?, &exact)?;
        assert_eq!(trained, if training { 0.0 } else { found });
    }
    Ok(())
}

/// An evaluation in bf16 is the network's, not the caller's, and its numbers are those of such a pass.
#[test]
fn a_network_knows_its_arithmetic() -> Result<()> {
    let (network, _) = create(&small(Task::Segmentation, true), 12)?;
    let rows = inputs(&[0, 1, 2])?;
    let memory = |network: &Network, pass: &Pass| -> Result<Vec<f32>> {
        network.forward(&rows, pass).unwrap().memory.flatten_all()?.to_vec1()
    };
    let exact = memory(&network, &Pass::evaluation())?;
    assert!(memory(&network, &network.evaluation())? == exact);
    let rounded = memory(&network, &Pass::evaluation().in_bf16(true))?;
    let network = network.in_arithmetic(Arithmetic::Bf16);
    assert!(memory(&network, &network.evaluation())? == rounded && rounded != exact);
    // On the CPU there is no TF32.
    let network = network.in_arithmetic(Arithmetic::Tf32);
    assert!(memory(&network, &network.evaluation())? == exact);
    Ok(())
}

/// Whether products may be in TF32 is said for the whole process.
#[cfg(feature = "cuda")]
static PRECISION: Mutex<()> = Mutex::new(());

/// A network, its parameters and what it is asked, on the CPU and the same on a GPU.
#[cfg(feature = "cuda")]
fn on_both(cfg: &ModelConfig) -> Result<[(Network, Parameters, Inputs); 2]> {
    let gpu = Device::new_cuda(0)?;
    let (on_cpu, here) = create(cfg, 8)?;
    let (on_gpu, there) = Network::create(cfg, VOCABULARY, 8, &gpu).unwrap();
    let weights = here.all().into_iter().map(|p| (p.name, p.var.as_detached_tensor().copy().unwrap()));
    there.load(&weights.collect())?;
    let rows = inputs(&[0, 1, 2, 1])?;
    let mut moved = rows.clone();
    moved.images = moved.images.to_device(&gpu)?;
    moved.words = moved.words.to_device(&gpu)?;
    Ok([(on_cpu, here, rows), (on_gpu, there, moved)])
}

/// Losses, gradients and tokens on a GPU are the CPU's.
#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a GPU"]
fn cuda_says_what_the_cpu_says() -> Result<()> {
    let _alone = PRECISION.lock();
    let mut cfgs = variants();
    cfgs[0].loss.soft_target_sigma = 1.0;
    cfgs[0].auxiliary = AuxiliaryConfig {
        grounding_weight: 1.0,
        grounding_box_weight: 1.0,
        attention_weight: 0.5,
        pretext_weight: 1.0,
        pretext_classes: vec![4, 3],
    };
    for cfg in cfgs {
        let [(on_cpu, here, rows), (on_gpu, there, moved)] = on_both(&cfg)?;
        let pass = || Pass::training(Stream::new(0, "dropout"));
        let [a, b] = [on_cpu.loss(&rows, &targets(4), &pass()), on_gpu.loss(&moved, &targets(4), &pass())]
            .map(|losses| losses.unwrap().total);
        let (value, found) = (a.to_scalar::<f32>()?, b.to_scalar::<f32>()?);
        assert!((value - found).abs() <= 1e-3 * value.abs(), "{value} on the CPU, {found} on CUDA");
        let (expected, found) = (a.backward()?, b.backward()?);
        for (here, there) in here.trainable().iter().zip(there.trainable()) {
            let Some(expected) = expected.get(&here.var) else {
                assert!(found.get(&there.var).is_none(), "{}", here.name);
                continue;
            };
            let found = found.get(&there.var).unwrap().to_device(&Device::Cpu)?;
            let largest = expected.abs()?.max_all()?.to_scalar::<f32>()?;
            let off = (expected - found)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(off <= 1e-2 * largest + 1e-6, "{}: off by {off} of {largest}", here.name);
        }
        let [here, there] = [here, there].map(|p| Network::new(&cfg, VOCABULARY, p.inference()).unwrap());
        let answers = [(&here, &rows), (&there, &moved)].map(|(network, rows)| {
            let encoded = network.forward(rows, &Pass::evaluation()).unwrap();
            network.generate(&encoded, cfg.task, Strategy::Greedy, None).unwrap()
        });
        let tokens = |answers: &[Answer]| -> Vec<Vec<u32>> {
            let said = answers.iter().flat_map(|answer| [&answer.bounds, &answer.outline]);
            said.flatten().map(|spoken| spoken.tokens.clone()).collect()
        };
        assert_eq!(tokens(&answers[0]), tokens(&answers[1]));
    }
    Ok(())
}

#[cfg(feature = "cuda")]
type Watched = HashMap<String, Tensor>;

/// What tensor cores compute on a GPU: bf16 as the CPU rounds to it, TF32 nearly as f32; channels lie last there.
#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a GPU"]
fn cuda_rounds_as_the_cpu_does() -> Result<()> {
    let _alone = PRECISION.lock();
    for frozen in [0, 3, 12] {
        let mut cfg = small(Task::Segmentation, true);
        cfg.darknet.frozen = frozen;
        let [(on_cpu, here, rows), (on_gpu, there, moved)] = on_both(&cfg)?;
        // As it is trained, too, what is not in f32 has no gradient.
        let pass = Pass::evaluation().in_bf16(true);
        let [trained, expected] = [(&on_gpu, &moved), (&on_cpu, &rows)]
            .map(|(network, rows)| network.forward(rows, &pass).unwrap().memory.detach());
        assert!(largest_difference(&trained, &expected)? < 0.5);
        let networks = [here, there].map(|p| Network::new(&cfg, VOCABULARY, p.inference()).unwrap());
        let watched = |network: &Network, rows: &Inputs, bf16: bool| -> Watched {
            let pass = Pass::evaluation().in_bf16(bf16).watching();
            let memory = network.forward(rows, &pass).unwrap().memory;
            let mut watched = pass.watched();
            watched.insert("memory".into(), memory);
            watched
        };
        // No further apart than bf16 is from f32, each by the largest difference.
        let close = |found: &Watched, expected: &Watched, [bf16, exact]: [&Watched; 2]| -> Result<()> {
            for name in ["level0", "level1", "level2", "fusion", "memory"] {
                let off = largest_difference(&found[name], &expected[name])?;
                let allowed = largest_difference(&bf16[name], &exact[name])?;
                assert!(
                    off <= allowed && allowed > 0.0,
                    "{frozen} frozen: {name}: off by {off} of {allowed}"
                );
            }
            Ok(())
        };
        let [bf16, exact] = [true, false].map(|bf16| watched(&networks[0], &rows, bf16));
        close(&watched(&networks[1], &moved, true), &bf16, [&bf16, &exact])?;
        set_gemm_reduced_precision_f32(true);
        let rounded = watched(&networks[1], &moved, false);
        set_gemm_reduced_precision_f32(false);
        close(&rounded, &exact, [&bf16, &exact])?;
        let losses = |bf16: bool| {
            let pass = || Pass::training(Stream::new(0, "dropout")).in_bf16(bf16);
            let [a, b] =
                [on_cpu.loss(&rows, &targets(4), &pass()), on_gpu.loss(&moved, &targets(4), &pass())];
            let [a, b] = [a, b].map(|losses| losses.unwrap().total.to_scalar::<f32>().unwrap());
            assert!((a - b).abs() <= 1e-2 * a.abs(), "{frozen} frozen: {a} on the CPU, {b} on CUDA");
        };
        losses(true);
        set_gemm_reduced_precision_f32(true);
        losses(false);
        set_gemm_reduced_precision_f32(false);
    }
    Ok(())
}

#[cfg(feature = "cuda")]
fn largest_difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    let [a, b] = [a, b].map(|t| t.to_device(&Device::Cpu)?.to_dtype(DType::F32));
    (a? - b?)?.abs()?.max_all()?.to_scalar()
}

//! What holds for a network of any size, on a small one with random weights.

use candle_core::{DType, Device, Result, Tensor};
use partial_res::config::{AuxiliaryConfig, CoContentAxes, DarknetConfig, LanguageConfig, ModelConfig, Task};
use partial_res::model::{
    Answer, Constraint, Inputs, Network, Phase, Sequence, Spoken, Strategy, Targets, token_loss,
};
use partial_res::nn::{Parameters, Pass, Role};
use partial_res::random::Stream;

const VOCABULARY: usize = 9;

fn small(task: Task, additions: bool) -> ModelConfig {
    ModelConfig {
        task,
        vertices: 4,
        bins: 20,
        d_model: 24,
        heads: 3,
        encoder_layers: 2,
        decoder_layers: 2,
        feed_forward: 32,
        dropout: 0.1,
        input_groups: 4,
        point_hidden: [12, 10],
        language_token: additions,
        point_modulation: additions,
        task_prompt: additions,
        co_content: additions,
        darknet: DarknetConfig {
            widths: [4, 6, 8, 10, 12, 16],
            blocks: [1, 1, 1, 1, 1],
            strides: [2, 2, 2, 1, 1],
            tail: 0,
            frozen: 3,
        },
        language: LanguageConfig { word_dim: 7, hidden: 8, trainable_words: false },
        ..ModelConfig::default()
    }
}

fn variants() -> Vec<ModelConfig> {
    let tasks = [Task::Segmentation, Task::Detection, Task::MultiTask];
    let mut variants: Vec<ModelConfig> =
        tasks.iter().flat_map(|&task| [small(task, true), small(task, false)]).collect();
    variants.push(ModelConfig {
        co_content_axes: CoContentAxes::Aligned,
        sine_in_values: true,
        decode_at_centre: true,
        ..small(Task::Segmentation, true)
    });
    variants
}

/// Three images of 32 x 48 pixels, one with padding.
fn inputs(image_of: &[u32]) -> Result<Inputs> {
    let mut stream = Stream::new(1, "images");
    let pixels: Vec<f32> = (0..3 * 3 * 32 * 48).map(|_| stream.below(256) as f32).collect();
    let words: Vec<u32> = image_of
        .iter()
        .enumerate()
        .flat_map(|(row, _)| [2 + row as u32 % 7, 3, 4 + row as u32 % 5, 0])
        .collect();
    Ok(Inputs {
        images: Tensor::from_vec(pixels, (3, 3, 32, 48), &Device::Cpu)?,
        image_hw: vec![(32, 48), (20, 30), (32, 48)],
        image_of: image_of.to_vec(),
        words: Tensor::from_vec(words, (image_of.len(), 4), &Device::Cpu)?,
    })
}

fn targets(rows: usize) -> Targets {
    let vertices = vec![[3.0, 4.0], [20.0, 5.5], [18.0, 19.0]];
    Targets {
        pad_hw: vec![(32, 48); rows],
        boxes: Some(vec![[3.0, 4.0, 20.0, 19.0]; rows]),
        vertices: Some(vec![vertices; rows]),
        labels: Some(vec![vec![2, u32::MAX]; rows]),
        weights: None,
    }
}

/// A network with lively weights: the initial ones hardly look at the image.
fn create(cfg: &ModelConfig, seed: u64) -> Result<(Network, Parameters)> {
    let (network, parameters) = Network::create(cfg, VOCABULARY, seed, &Device::Cpu).unwrap();
    for name in ["head.predictor.2.fc.weight", "head.transformer.input_proj.conv.weight"] {
        let var = parameters.get(name).unwrap().var;
        var.set(&(var.as_detached_tensor() * 3.0)?)?;
    }
    Ok((network, parameters))
}

/// Decodes one more token by teacher forcing over everything said before.
fn next_of_prefix(
    network: &Network,
    encoded: &partial_res::model::Encoded,
    said: &[Vec<u32>],
) -> Result<Tensor> {
    let sequences: Vec<Sequence> = said
        .iter()
        .map(|tokens| Sequence { tokens: tokens.clone(), positions: vec![None; tokens.len()] })
        .collect();
    network.teacher(encoded, &sequences, &Pass::evaluation())
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
    best.unwrap() as u32
}

#[test]
fn kept_keys_decode_what_the_whole_prefix_would() -> Result<()> {
    for cfg in variants() {
        let (_, parameters) = create(&cfg, 3)?;
        let network = Network::new(&cfg, VOCABULARY, parameters.inference()).unwrap();
        let rows = inputs(&[0, 1, 2, 1, 0])?;
        let encoded = network.forward(&rows, &Pass::evaluation()).unwrap();
        let answers = network.generate(&encoded, cfg.task, Strategy::Greedy, None)?;
        let end = cfg.end_token();
        let spoken = |answer: &Answer| -> Vec<u32> {
            let tokens = |said: &Option<Spoken>| said.as_ref().map_or(vec![], |said| said.tokens.clone());
            let mut all = tokens(&answer.bounds);
            let mut outline = tokens(&answer.outline);
            // A row that stopped goes on with end tokens.
            outline.resize(if answer.outline.is_some() { 2 * cfg.vertices + 1 } else { 0 }, end);
            all.extend(outline);
            all
        };
        let said: Vec<Vec<u32>> = answers.iter().map(spoken).collect();
        // The last token is never read.
        let read: Vec<Vec<u32>> = said
            .iter()
            .map(|row| match cfg.task {
                Task::Detection => row.clone(),
                Task::Segmentation | Task::MultiTask => row[..row.len() - 1].to_vec(),
            })
            .collect();
        let logits = next_of_prefix(&network, &encoded, &read)?.to_vec3::<f32>()?;
        for (row, answer) in answers.iter().enumerate() {
            let check = |said: &Spoken, first: usize, no_end: usize| {
                for (i, &token) in said.tokens.iter().enumerate() {
                    let logits = &logits[row][first + i];
                    let choices = if i < no_end { cfg.bins } else { cfg.bins + 1 };
                    assert_eq!(token, likeliest(&logits[..choices]), "{:?} row {row} token {i}", cfg.task);
                    let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
                    let expected = logits[token as usize] - sum.ln();
                    assert!((said.log_probabilities[i] - expected).abs() < 1e-4);
                }
            };
            let multi_task = cfg.task == Task::MultiTask;
            if let Some(bounds) = &answer.bounds {
                check(bounds, 0, 4);
            }
            if let Some(outline) = &answer.outline {
                check(outline, if multi_task { 5 } else { 0 }, if multi_task { 4 } else { 0 });
            }
        }
    }
    Ok(())
}

/// Lets row r of an outline have 2 r tokens.
struct Ends(u32);

impl Constraint for Ends {
    fn allows(&self, row: usize, _: Phase, step: usize, token: u32) -> bool {
        (token == self.0) == (step >= 2 * row)
    }
}

#[test]
fn rows_that_end_leave_the_others_as_they_were() -> Result<()> {
    let cfg = small(Task::Segmentation, true);
    let (network, _) = create(&cfg, 4)?;
    let encoded = network.forward(&inputs(&[0, 1, 2, 1, 0])?, &Pass::evaluation()).unwrap();
    let answers = network.generate(&encoded, cfg.task, Strategy::Greedy, Some(&Ends(cfg.end_token())))?;
    let said: Vec<Vec<u32>> = answers.into_iter().map(|answer| answer.outline.unwrap().tokens).collect();
    assert_eq!(said.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    let mut read = said.clone();
    read.iter_mut().for_each(|row| row.resize(8, cfg.end_token()));
    let logits = next_of_prefix(&network, &encoded, &read)?.to_vec3::<f32>()?;
    for (row, tokens) in said.iter().enumerate() {
        for (i, &token) in tokens.iter().take(2 * row).enumerate() {
            assert_eq!(token, likeliest(&logits[row][i][..cfg.bins]), "row {row} token {i}");
        }
    }
    Ok(())
}

#[test]
fn drawing_depends_on_each_rows_seed_alone() -> Result<()> {
    let cfg = small(Task::Detection, true);
    let (network, _) = create(&cfg, 5)?;
    let say = |rows: &[u32], seeds: &[u64]| -> Result<Vec<Answer>> {
        let encoded = network.forward(&inputs(rows)?, &Pass::evaluation()).unwrap();
        network.generate(&encoded, cfg.task, Strategy::TopP { p: 0.9, temperature: 2.0, seeds }, None)
    };
    let (first, again) = (say(&[0, 1], &[7, 8])?, say(&[0, 1, 2], &[7, 9, 8])?);
    let tokens = |answer: &Answer| answer.bounds.clone().unwrap().tokens;
    assert_eq!(tokens(&first[0]), tokens(&again[0]));
    assert_ne!(tokens(&first[1]), tokens(&again[1]));
    assert!(first.iter().all(|answer| tokens(answer).iter().all(|&token| token < cfg.end_token())));
    Ok(())
}

#[test]
fn rows_share_images() -> Result<()> {
    let cfg = small(Task::Segmentation, true);
    let (network, _) = create(&cfg, 6)?;
    let shared = inputs(&[2, 0, 2, 1])?;
    let index = Tensor::new(&[2u32, 0, 2, 1], &Device::Cpu)?;
    let apart = Inputs {
        images: shared.images.index_select(&index, 0)?,
        image_hw: [2, 0, 2, 1].map(|i: usize| shared.image_hw[i]).to_vec(),
        image_of: vec![0, 1, 2, 3],
        words: shared.words.clone(),
    };
    let memory = |inputs: &Inputs| network.forward(inputs, &Pass::evaluation()).unwrap().memory;
    let difference = (memory(&shared) - memory(&apart))?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(difference < 1e-5, "{difference}");
    Ok(())
}

#[test]
fn every_trainable_tensor_has_a_gradient_and_no_other_changes() -> Result<()> {
    let mut all_on = small(Task::Segmentation, true);
    all_on.loss.soft_target_sigma = 1.0;
    all_on.auxiliary = AuxiliaryConfig {
        grounding_weight: 1.0,
        grounding_box_weight: 1.0,
        attention_weight: 0.5,
        pretext_weight: 1.0,
        pretext_classes: vec![4, 3],
    };
    for cfg in variants().into_iter().chain([all_on]) {
        let (network, parameters) = create(&cfg, 8)?;
        let frozen = |role| -> Vec<(String, Tensor)> {
            let held = parameters.all().into_iter().filter(|parameter| parameter.role == role);
            held.map(|parameter| (parameter.name, parameter.var.copy().unwrap())).collect()
        };
        let (before, statistics) = (frozen(Role::Frozen), frozen(Role::Buffer));
        let pass = Pass::training(Stream::new(0, "dropout"));
        let losses = network.loss(&inputs(&[0, 1, 2, 1])?, &targets(4), &pass).unwrap();
        let gradients = losses.total.backward()?;
        for parameter in parameters.trainable() {
            // The prompt of outlines doesn't take part in spelling boxes.
            let unused = cfg.task != Task::Segmentation && parameter.name.ends_with("task_prompt.weight");
            let norm = match gradients.get(&parameter.var) {
                Some(gradient) => gradient.sqr()?.sum_all()?.to_scalar::<f32>()?,
                None => 0.0,
            };
            assert!(norm.is_finite() && (norm > 0.0) != unused, "{:?} {}: {norm}", cfg.task, parameter.name);
        }
        let changed = |held: &[(String, Tensor)]| -> Result<usize> {
            let mut changed = 0;
            for (name, before) in held {
                let now = parameters.get(name).unwrap().var.to_dtype(DType::F32)?;
                changed += usize::from(
                    (now - before.to_dtype(DType::F32)?)?.abs()?.sum_all()?.to_scalar::<f32>()? > 0.0,
                );
            }
            Ok(changed)
        };
        assert_eq!(changed(&before)?, 0);
        assert!(before.iter().any(|(name, _)| name.starts_with("vis_enc")));
        assert_eq!(changed(&statistics)?, statistics.len());
    }
    Ok(())
}

#[test]
fn vectors_of_all_layers_start_equal_and_matrices_differ() -> Result<()> {
    let (_, parameters) =
        Network::create(&small(Task::Segmentation, true), VOCABULARY, 0, &Device::Cpu).unwrap();
    let values = |layer: usize, name: &str| -> Vec<f32> {
        let name = format!("head.transformer.decoder.layers.{layer}.{name}");
        parameters.get(&name).unwrap().var.flatten_all().unwrap().to_vec1().unwrap()
    };
    assert_eq!(values(0, "linear1.bias"), values(1, "linear1.bias"));
    assert_ne!(values(0, "linear1.weight"), values(1, "linear1.weight"));
    assert!(values(1, "point.4.bias").iter().all(|&value| value == 0.0));
    assert!(values(1, "point.4.weight").iter().any(|&value| value != 0.0));
    Ok(())
}

#[test]
fn a_row_without_words_has_finite_numbers() -> Result<()> {
    let cfg = small(Task::Detection, true);
    let (network, _) = create(&cfg, 9)?;
    let mut rows = inputs(&[0, 1, 2])?;
    rows.words = Tensor::new(&[[0u32, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]], &Device::Cpu)?;
    let losses = network.loss(&rows, &targets(3), &Pass::training(Stream::new(0, "dropout"))).unwrap();
    assert!(losses.total.to_scalar::<f32>()?.is_finite());
    Ok(())
}

#[test]
fn soft_targets_are_best_met_by_themselves() -> Result<()> {
    let mut cfg = small(Task::Detection, false);
    cfg.loss.soft_target_sigma = 1.5;
    cfg.loss.label_smoothing = 0.0;
    let sequences = Sequence::of_targets(&cfg, &targets(1));
    let position = sequences[0].positions[0].unwrap();
    let logit = |place: usize, bin: usize| match (place, bin) {
        (4, 20) => 30.0,
        (4, _) | (_, 20) => -30.0,
        (place, bin) => {
            let distance = (bin as f32 + 0.5 - sequences[0].positions[place].unwrap()) / 1.5;
            -0.5 * distance * distance
        }
    };
    assert!((position - 1.25).abs() < 1e-6);
    let logits: Vec<f32> = (0..5 * 21).map(|i| logit(i / 21, i % 21)).collect();
    let logits = Tensor::from_vec(logits, (1, 5, 21), &Device::Cpu)?;
    let best = token_loss(&cfg, &logits, &sequences, None)?.to_scalar::<f32>()?;
    assert!(best.abs() < 1e-4, "{best}");
    assert!(token_loss(&cfg, &(logits * 0.5)?, &sequences, None)?.to_scalar::<f32>()? > 0.01);
    Ok(())
}

#[test]
fn mistakes_are_named() -> Result<()> {
    let message =
        |cfg: &ModelConfig| Network::create(cfg, VOCABULARY, 0, &Device::Cpu).err().unwrap().to_string();
    let good = small(Task::Segmentation, true);
    assert_eq!(
        message(&ModelConfig { heads: 5, ..good.clone() }),
        "model.heads is 5: must divide d_model = 24"
    );
    let language = LanguageConfig { hidden: 9, ..good.language.clone() };
    assert!(
        message(&ModelConfig { language, ..good.clone() }).starts_with("model.language.hidden is 9: twice")
    );
    let (network, parameters) = create(&good, 0)?;
    let without = Targets { vertices: None, ..targets(1) };
    let error = network.loss(&inputs(&[0])?, &without, &Pass::evaluation()).unwrap_err();
    assert_eq!(error.to_string(), "the batch has 0 target outlines, expected 1");
    let inferring = Network::new(&good, VOCABULARY, parameters.inference()).unwrap();
    let pass = Pass::training(Stream::new(0, "dropout"));
    let error = inferring.loss(&inputs(&[0])?, &targets(1), &pass).unwrap_err().to_string();
    assert!(error.contains("can't run in training"), "{error}");
    Ok(())
}

/// What bf16 changes is small, is not nothing, and is where the backbone is frozen.
#[test]
fn bf16_is_for_what_is_frozen() -> Result<()> {
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
        assert_eq!(difference(&fused(0, true, training)?, &exact)?, 0.0);
    }
    Ok(())
}

/// Losses, gradients and tokens on a GPU are the CPU's.
#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a GPU"]
fn cuda_says_what_the_cpu_says() -> Result<()> {
    let gpu = Device::new_cuda(0)?;
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
        let (on_cpu, here) = create(&cfg, 8)?;
        let (on_gpu, there) = Network::create(&cfg, VOCABULARY, 8, &gpu).unwrap();
        let weights = here.all().into_iter().map(|p| (p.name, p.var.as_detached_tensor().copy().unwrap()));
        there.load(&weights.collect())?;
        let rows = inputs(&[0, 1, 2, 1])?;
        let mut moved = rows.clone();
        moved.images = moved.images.to_device(&gpu)?;
        moved.words = moved.words.to_device(&gpu)?;
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

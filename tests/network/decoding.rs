//! Saying tokens.

use candle_core::{Device, Result, Tensor};
use partial_res::config::{CoContentAxes, ModelConfig, Task};
use partial_res::model::{Answer, Constraint, Inputs, Network, Phase, Sequence, Spoken, Strategy};
use partial_res::nn::Pass;

use super::{VOCABULARY, create, inputs, small, variants};

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
    [CoContentAxes::Crossed, CoContentAxes::Aligned].into_iter().try_for_each(rows_end)
}

fn rows_end(co_content_axes: CoContentAxes) -> Result<()> {
    let cfg = ModelConfig { co_content_axes, ..small(Task::Segmentation, true) };
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

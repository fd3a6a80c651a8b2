//! How it learns.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::describe::described;

described! {
    /// Learning rate after warm-up.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Schedule {
        /// Multiplied by `decay_factor` at each of `decay_epochs` (the reference).
        Step,
        /// Down by equal parts after the warm-up; the epoch after the last would have 0 (the
        /// reference has it, no configuration uses it).
        Linear,
        /// Half a cosine from the peak to `final_lr_fraction`, over optimizer steps.
        Cosine,
    }
}

described! {
    /// Which values a batch norm takes the statistics of, when several processes train.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum BatchStatistics {
        /// Those of the process's own share of the batch (the reference, and `torch.nn.BatchNorm2d`
        /// under DistributedDataParallel); running statistics are the mean over processes.
        Own,
        /// Those of all processes together, as if one had the whole batch (`torch.nn.SyncBatchNorm`).
        /// CPU only.
        Joint,
    }
}

described! {
    /// Of the frozen modules of the backbone ([`crate::config::DarknetConfig::frozen`]); what is trained is f32.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Precision {
        /// The reference.
        F32,
        /// Weights and activations are bf16, products are summed and batch norms computed in f32. On CUDA with
        /// cuDNN this is faster and takes half the memory; on the CPU numbers are f32 rounded to bf16 at the same
        /// places, which shows what it does to a training but is no faster.
        Bf16,
    }
}

described! {
    /// Training. Defaults are the reference's for segmentation (quirk 47).
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct TrainConfig {
        /// All that is random follows from it: initial weights, the order of the data, jitter, dropout.
        pub seed: u64,
        /// Checkpoint to begin from (step 1's REC model); `--finetune-from` overrides it.
        pub finetune_from: Option<PathBuf>,
        /// DarkNet weights as `convert darknet` writes them, for training without a checkpoint.
        pub backbone: Option<PathBuf>,
        /// Passes over the data, or `epoch_steps` each.
        pub epochs: usize,
        /// Not in the reference: optimizer steps of an epoch, whatever the size of the data, pass after
        /// pass over it; 0 is one pass. Trainings on few and on many masks then take equally many steps.
        pub epoch_steps: usize,
        /// Rows (expressions) in a batch.
        pub batch_size: usize,
        /// Batches whose gradients are averaged before a step. Batch norm still sees one batch at a time.
        pub accumulate: usize,
        /// The learning rate at its peak.
        pub lr: f64,
        /// The backbone's (`vis_enc.*`) learning rate as a share of `lr`. The reference has 0.1 where none of
        /// it is frozen (quirk 3), which none of its configurations does.
        pub backbone_lr_factor: f64,
        /// Adam's decays of the mean of gradients and of their squares.
        pub betas: [f64; 2],
        /// Adam's smallest divisor.
        pub eps: f64,
        /// Adam divides by the largest mean of squares so far.
        pub amsgrad: bool,
        /// L2, added to the gradient as in the reference's Adam (not decoupled).
        pub weight_decay: f64,
        /// Largest norm of the whole gradient; 0 is off.
        pub clip: f64,
        /// Which values a batch norm takes the statistics of, when several processes train, each of which has
        /// `batch_size` rows.
        pub batch_statistics: BatchStatistics,
        /// Of the backbone's frozen modules (`model.darknet.frozen`) while training; what is trained is f32, and so
        /// are evaluations.
        pub precision: Precision,
        /// On CUDA, products of f32 may round their factors to 10 bits of fraction (TF32), which tensor cores are
        /// faster at; PyTorch does so in convolutions unless told otherwise. No effect on the CPU.
        pub tf32: bool,
        /// Epochs over which the rate rises linearly: epoch e (from 0) has (e + 1) / (warmup_epochs + 1).
        pub warmup_epochs: usize,
        /// Not in the reference: optimizer steps over which the rate rises linearly from 0; 0 is off.
        pub warmup_steps: usize,
        /// The learning rate after the warm-up.
        pub schedule: Schedule,
        /// Epochs (from 1) whose rate is the first with the next factor.
        pub decay_epochs: Vec<usize>,
        /// What the rate is multiplied by at each of `decay_epochs`.
        pub decay_factor: f64,
        /// Where the cosine ends, as a share of `lr`.
        pub final_lr_fraction: f64,
        /// Keep an exponential moving average of the weights.
        pub ema: bool,
        /// Largest decay of the average; update n (from 0) uses min(this, (n + 1) / (n + 10)).
        pub ema_decay: f64,
        /// Share of a batch's rows whose vertices are permuted (quirk 55); negative is off.
        pub shuffle_fraction: f64,
        /// Epochs between evaluations on `val`; the last epoch is always evaluated.
        pub eval_every: usize,
        /// Referents of `val` that evaluations during training use; 0 is all.
        pub eval_limit: usize,
        /// Steps between log lines.
        pub log_every: usize,
        /// Epochs between checkpoints.
        pub save_every: usize,
        /// Finished checkpoints to keep besides the best ones.
        pub keep: usize,
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 6666,
            finetune_from: None,
            backbone: None,
            epochs: 90,
            epoch_steps: 0,
            batch_size: 128,
            accumulate: 1,
            batch_statistics: BatchStatistics::Own,
            precision: Precision::F32,
            tf32: false,
            lr: 5e-4,
            backbone_lr_factor: 1.0,
            betas: [0.9, 0.98],
            eps: 1e-9,
            amsgrad: true,
            weight_decay: 0.0,
            clip: 0.15,
            warmup_epochs: 5,
            warmup_steps: 0,
            schedule: Schedule::Step,
            decay_epochs: vec![75],
            decay_factor: 0.1,
            final_lr_fraction: 0.02,
            ema: true,
            ema_decay: 0.999,
            shuffle_fraction: -1.0,
            eval_every: 1,
            eval_limit: 0,
            log_every: 50,
            save_every: 1,
            keep: 2,
        }
    }
}

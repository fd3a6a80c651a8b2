//! Batches prepared by threads ahead of the step that takes them, in the order of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{Batch, DataError, Dataset, Plan, Preparation, Sample, Skipped};

/// Threads where none are asked for: each has a batch in memory, and some machines have hundreds of cores.
const MOST_WORKERS: usize = 16;

/// Prepares the batches of a plan. Neither their content nor their order depends on the number of
/// threads. Dropping it ends the threads.
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Unreadable images allowed; `None` makes each an error.
    max_bad: Option<usize>,
    bad: BTreeSet<PathBuf>,
}

struct Shared {
    dataset: Arc<Dataset>,
    plan: Plan,
    preparation: Preparation,
    skip_bad: bool,
    /// Finished batches wait in a queue of this length.
    ahead: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The next batch that a worker takes up.
    next: usize,
    /// The next batch that is handed out.
    wanted: usize,
    ready: BTreeMap<usize, Result<Batch, DataError>>,
    stopped: bool,
}

impl Shared {
    /// No thread leaves the state half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let _stop = StopOnPanic(self);
        loop {
            let mut state = self.state();
            while !state.stopped && state.next < self.plan.len() && state.next >= state.wanted + self.ahead {
                state = self.wait(state);
            }
            if state.stopped || state.next >= self.plan.len() {
                return;
            }
            let index = state.next;
            state.next += 1;
            drop(state);
            let batch = self.prepare(index);
            self.state().ready.insert(index, batch);
            self.changed.notify_all();
        }
    }

    fn prepare(&self, batch: usize) -> Result<Batch, DataError> {
        let mut samples: Vec<Sample> = Vec::new();
        let mut skipped = Vec::new();
        for group in self.plan.images(&self.dataset, batch) {
            let mut stream = self.plan.stream(&group[0]);
            match self.dataset.sample(group, &self.preparation, &mut stream) {
                Ok(sample) => samples.push(sample),
                Err(error @ DataError::Image { .. }) if self.skip_bad => {
                    skipped.push(Skipped {
                        referents: group.iter().map(|entry| entry.referent).collect(),
                        error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        let mut batch = Batch::collate(samples, self.dataset.max_words());
        batch.skipped = skipped;
        Ok(batch)
    }
}

/// A worker that panics wakes the one who waits for its batch.
struct StopOnPanic<'a>(&'a Shared);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().stopped = true;
            self.0.changed.notify_all();
        }
    }
}

impl Loader {
    /// Starts at batch `start` of the plan (a resumed epoch; 0 else), with `workers` threads (0:
    /// as many as compute, but at most 16).
    ///
    /// With `max_bad`, rows whose image can't be read are left out of their batch
    /// ([`Batch::skipped`]) until that many images were bad; without, the first is an error.
    pub fn new(
        dataset: Arc<Dataset>,
        plan: Plan,
        preparation: Preparation,
        start: usize,
        workers: usize,
        max_bad: Option<usize>,
    ) -> Self {
        let own = || rayon::current_num_threads().min(MOST_WORKERS);
        let workers = if workers == 0 { own() } else { workers }.min(plan.len().max(1));
        let shared = Arc::new(Shared {
            dataset,
            plan,
            preparation,
            skip_bad: max_bad.is_some(),
            ahead: workers + 1,
            state: Mutex::new(State { next: start, wanted: start, ..State::default() }),
            changed: Condvar::new(),
        });
        let workers = (0..workers)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.work())
            })
            .collect();
        Self { shared, workers, max_bad, bad: BTreeSet::new() }
    }

    /// Counts these files, met before the epoch was broken off, among the unreadable ones.
    pub fn having_met(mut self, bad: impl IntoIterator<Item = PathBuf>) -> Self {
        self.bad.extend(bad);
        self
    }

    /// The files that could not be read so far.
    pub fn bad(&self) -> &BTreeSet<PathBuf> {
        &self.bad
    }

    fn take(&mut self) -> Option<Result<Batch, DataError>> {
        let mut state = self.shared.state();
        if state.wanted >= self.shared.plan.len() {
            return None;
        }
        loop {
            let wanted = state.wanted;
            if let Some(batch) = state.ready.remove(&wanted) {
                state.wanted += 1;
                drop(state);
                self.shared.changed.notify_all();
                return Some(batch);
            }
            if state.stopped {
                drop(state);
                self.join();
                return None;
            }
            state = self.shared.wait(state);
        }
    }

    fn stop(&self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
    }

    /// Waits for the threads; a panic of one becomes ours.
    fn join(&mut self) {
        for worker in self.workers.drain(..) {
            if let Err(panic) = worker.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn count_bad(&mut self, batch: &mut Batch) -> Result<(), DataError> {
        let allowed = self.max_bad.unwrap_or(0);
        for i in 0..batch.skipped.len() {
            if let DataError::Image { path, .. } = &batch.skipped[i].error {
                self.bad.insert(path.clone());
            }
            if self.bad.len() > allowed {
                let last = Box::new(batch.skipped.swap_remove(i).error);
                return Err(DataError::TooManyBad { count: self.bad.len(), allowed, last });
            }
        }
        Ok(())
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    /// The next batch of the plan. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        let result = self.take()?.and_then(|mut batch| self.count_bad(&mut batch).map(|()| batch));
        if result.is_err() {
            self.stop();
            self.shared.state().wanted = self.shared.plan.len();
        }
        Some(result)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}

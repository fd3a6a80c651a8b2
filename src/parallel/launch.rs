//! What a launcher says about this process.

use super::ParallelError;

/// Variables with the number of processes, this one's number among all, and among those of its machine.
struct Variables {
    size: &'static str,
    rank: &'static str,
    local_rank: &'static str,
}

const fn variables(size: &'static str, rank: &'static str, local_rank: &'static str) -> Variables {
    Variables { size, rank, local_rank }
}

/// As torchrun has them; whoever starts processes by hand sets these.
const TORCHRUN: Variables = variables("WORLD_SIZE", "RANK", "LOCAL_RANK");
/// Open MPI, MPICH and its relatives, Slurm. `SLURM_NTASKS` would be that of the job: `salloc` and `sbatch` set it for
/// their one shell too; the number in a step has only who was started by `srun`.
const LAUNCHERS: [Variables; 3] = [
    variables("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    variables("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
    variables("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"),
];
const ADDRESS: &str = "MASTER_ADDR";
const PORT: &str = "MASTER_PORT";

/// Several processes, and how they find one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Launch {
    /// At an address that all were given.
    Address { rank: usize, size: usize, local_rank: usize, address: (String, u16) },
    /// By MPI.
    Mpi { variable: &'static str, size: usize, local_rank: usize },
}

impl Launch {
    /// From the environment; `None` for one process alone.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ParallelError> {
        let number = |name: &'static str, expected: &'static str| -> Result<Option<usize>, ParallelError> {
            let Some(found) = get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            found.parse().map(Some).map_err(|_| ParallelError::Variable { name, found, expected })
        };
        let port = || -> Result<Option<u16>, ParallelError> {
            let expected = "a port: 1 to 65535";
            let Some(found) = number(PORT, expected)? else { return Ok(None) };
            let port = u16::try_from(found).ok().filter(|&port| port != 0);
            let wrong = ParallelError::Variable { name: PORT, found: found.to_string(), expected };
            port.map(Some).ok_or(wrong)
        };
        let address = || Ok::<_, ParallelError>(get(ADDRESS).zip(port()?));
        let several = |variables: &Variables| {
            Ok::<_, ParallelError>(
                number(variables.size, "the number of processes")?.filter(|&size| size > 1),
            )
        };
        // `srun --mpi=pmi2` has PMI's sizes and ranks, but says the local ones in its own way. Of others only who counts
        // as many processes has started this one: the shell of a Slurm job has a SLURM_LOCALID too.
        let local_rank = |own: &Variables, size| {
            const EXPECTED: &str = "the number of this process on its machine";
            for other in [own].into_iter().chain(&LAUNCHERS) {
                if several(other)? == Some(size)
                    && let Some(local_rank) = number(other.local_rank, EXPECTED)?
                {
                    return Ok(Some(local_rank));
                }
            }
            Ok::<_, ParallelError>(None)
        };
        let missing = |name, expected| ParallelError::Variable { name, found: String::new(), expected };
        let at_address = |variables: &Variables, size, address| {
            const EXPECTED: &str = "the number of this process, from 0 and below the number of processes";
            let rank = number(variables.rank, EXPECTED)?.ok_or_else(|| missing(variables.rank, EXPECTED))?;
            if rank >= size {
                let found = rank.to_string();
                return Err(ParallelError::Variable { name: variables.rank, found, expected: EXPECTED });
            }
            let local_rank = local_rank(variables, size)?.unwrap_or(rank);
            Ok(Some(Self::Address { rank, size, local_rank, address }))
        };
        if let Some(size) = several(&TORCHRUN)? {
            let address = address()?.ok_or_else(|| {
                let name = if get(ADDRESS).is_none() { ADDRESS } else { PORT };
                missing(name, "where process 0 is to be found, as in MASTER_ADDR=127.0.0.1 MASTER_PORT=29500")
            })?;
            return at_address(&TORCHRUN, size, address);
        }
        for variables in &LAUNCHERS {
            let Some(size) = several(variables)? else { continue };
            return match address()? {
                Some(address) => at_address(variables, size, address),
                None => {
                    let local_rank = local_rank(variables, size)?.unwrap_or(0);
                    Ok(Some(Self::Mpi { variable: variables.size, size, local_rank }))
                }
            };
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Launch>, String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Launch::read(get).map_err(|error| error.to_string())
    }

    #[test]
    fn launchers() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("WORLD_SIZE", "1"), ("RANK", "0")]), Ok(None));
        let place = [("MASTER_ADDR", "node0"), ("MASTER_PORT", "29500")];
        let at = |rank, local_rank| {
            Ok(Some(Launch::Address { rank, size: 3, local_rank, address: ("node0".into(), 29500) }))
        };
        assert_eq!(read(&[&place[..], &[("WORLD_SIZE", "3"), ("RANK", "2")]].concat()), at(2, 2));
        let ranks = [("WORLD_SIZE", "3"), ("RANK", "2"), ("LOCAL_RANK", "0")];
        assert_eq!(read(&[&place[..], &ranks].concat()), at(2, 0));
        let mpi = [("OMPI_COMM_WORLD_SIZE", "3"), ("OMPI_COMM_WORLD_RANK", "1")];
        assert_eq!(read(&[&place[..], &mpi].concat()), at(1, 1));
        let by_mpi = Launch::Mpi { variable: "OMPI_COMM_WORLD_SIZE", size: 3, local_rank: 0 };
        assert_eq!(read(&mpi), Ok(Some(by_mpi)));
    }

    #[test]
    fn in_slurm_srun_alone_starts_several() {
        let place = [("MASTER_ADDR", "node0"), ("MASTER_PORT", "29500")];
        let shell = [("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0"), ("SLURM_LOCALID", "0")];
        assert_eq!(read(&[&place[..], &shell].concat()), Ok(None));
        let step = [
            ("SLURM_STEP_NUM_TASKS", "4"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_PROCID", "3"),
            ("SLURM_LOCALID", "1"),
        ];
        let address = ("node0".into(), 29500);
        let third = Launch::Address { rank: 3, size: 4, local_rank: 1, address };
        assert_eq!(read(&[&place[..], &step].concat()), Ok(Some(third)));
    }

    #[test]
    fn who_has_no_local_number_is_told_by_slurm() {
        // As `srun --mpi=pmi2` has it.
        let pmi = [("PMI_SIZE", "4"), ("PMI_RANK", "3")];
        let step = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "3"), ("SLURM_LOCALID", "1")];
        let by_mpi = |local_rank| Ok(Some(Launch::Mpi { variable: "PMI_SIZE", size: 4, local_rank }));
        assert_eq!(read(&[&pmi[..], &step].concat()), by_mpi(1));
        assert_eq!(read(&[&pmi[..], &[("MPI_LOCALRANKID", "2")], &step].concat()), by_mpi(2));
        // In the shell of a job SLURM_LOCALID is that of the shell.
        assert_eq!(read(&[&pmi[..], &step[2..]].concat()), by_mpi(0));
        let place = [("MASTER_ADDR", "node0"), ("MASTER_PORT", "29500")];
        let at = |local_rank| {
            Ok(Some(Launch::Address { rank: 3, size: 4, local_rank, address: ("node0".into(), 29500) }))
        };
        assert_eq!(read(&[&place[..], &pmi, &step].concat()), at(1));
        let by_hand = [("WORLD_SIZE", "4"), ("RANK", "3")];
        assert_eq!(read(&[&place[..], &by_hand, &step[2..]].concat()), at(3));
        assert_eq!(read(&[&place[..], &by_hand, &step].concat()), at(1));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let two = ("WORLD_SIZE", "2");
        for (variables, expected) in [
            (&[two, ("RANK", "0")][..], "MASTER_ADDR is not set"),
            (&[two, ("MASTER_ADDR", "here"), ("RANK", "0")], "MASTER_PORT is not set"),
            (&[two, ("MASTER_ADDR", "here"), ("MASTER_PORT", "1")], "RANK is not set"),
            (&[two, ("MASTER_ADDR", "here"), ("MASTER_PORT", "99999")], "MASTER_PORT is `99999`"),
            (&[two, ("MASTER_ADDR", "here"), ("MASTER_PORT", "1"), ("RANK", "2")], "RANK is `2`"),
            (&[("WORLD_SIZE", "two")], "WORLD_SIZE is `two`"),
        ] {
            let said = read(variables).expect_err("refused");
            assert!(said.contains(expected), "{said}");
        }
    }
}

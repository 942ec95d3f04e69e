//! Work on passwords: their Argon2id hashes (RFC 9106), the hashes that other systems have left,
//! and the judgement of new passwords, on a few threads of its own behind a bounded queue.
//!
//! A hash takes tens of milliseconds and tens of megabytes by design. So as many run at once as
//! there are threads here, whoever asks; the queue is bounded, and who does not fit is told when to
//! come back instead of making everyone wait.

mod phc;
mod stored;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use argon2::Block;
use keyward_core::password::{Password, PasswordPolicy, PasswordRefusal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::phc::{Cost, Phc};
use self::stored::StoredHash;
pub use self::stored::{FirebaseParameters, Scheme, UnfitHash, adopt};
use crate::breached::BreachedList;
use crate::metrics::Histogram;
use crate::policy::HashingPolicy;
use crate::store::PasswordHash;

/// The threads that hash, and their queue. They end when the pool is dropped and the queue empty.
pub struct HashPool {
    queue: SyncSender<Queued>,
    load: Arc<Load>,
    threads: usize,
    cost: Cost,
    breached: Option<Arc<BreachedList>>,
    /// What a password is compared with where there is no account: same work, no match.
    dummy: PasswordHash,
}

impl HashPool {
    /// Starts `concurrency_max` threads named `keyward-hash-N`. None of them takes memory for
    /// hashing before its first hash.
    ///
    /// # Errors
    ///
    /// Where the policy's cost is outside of what Argon2 and the bounds on stored hashes allow, or
    /// the operating system refuses a thread.
    pub fn new(policy: &HashingPolicy) -> io::Result<Self> {
        let cost = Cost::of(policy).within_bounds().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the cost of a password hash is out of bounds",
            )
        })?;
        let threads = policy.concurrency_max.max(1);
        let (queue, jobs) = sync_channel(policy.queue_max);
        let jobs = Arc::new(Mutex::new(jobs));
        let load = Arc::new(Load::new());
        let alone = Arc::new(Mutex::new(()));
        for number in 1..=threads {
            let (jobs, load) = (Arc::clone(&jobs), Arc::clone(&load));
            let memory = Memory { alone: Arc::clone(&alone), ..Memory::new(cost) };
            thread::Builder::new()
                .name(format!("keyward-hash-{number}"))
                .spawn(move || work(&jobs, &load, memory))?;
        }
        Ok(Self { queue, load, threads, cost, breached: None, dummy: no_password(policy) })
    }

    /// The pool that also refuses new passwords of this list.
    pub fn with_breached_list(self, list: BreachedList) -> Self {
        Self { breached: Some(Arc::new(list)), ..self }
    }

    /// Hashes a new password. `salt` must be fresh.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] where the queue is full.
    pub async fn hash(
        &self,
        password: Password,
        salt: [u8; 16],
    ) -> Result<PasswordHash, Overloaded> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Hash { password, salt, cost: self.cost, reply })?;
        self.wait(answer).await
    }

    /// The hash of an account without a password: nothing verifies against it, in the usual time.
    pub fn no_password(&self) -> PasswordHash {
        self.dummy.clone()
    }

    /// The scheme of a hash that should give way to one of this password by [`HashPool::hash`],
    /// since that costs a guesser more. `None` where the hash is good as it is.
    ///
    /// Also `None` for a password of which bcrypt has seen the first 72 bytes only: the others were
    /// never verified, and a typing error among them would lock its user out.
    pub fn outdated(&self, hash: &PasswordHash, password: &Password) -> Option<Scheme> {
        let stored = StoredHash::parse(hash.as_phc()).ok()?;
        let gives_way = stored.is_outdated(self.cost) && stored.proves_all_of(password);
        gives_way.then(|| stored.scheme())
    }

    /// Judges a new password as [`PasswordPolicy::judge`] does, then by the list of leaked ones,
    /// and gives an accepted one back. A list that cannot be read refuses nothing: the log says so.
    /// For the worst of inputs that takes longer than a hash, so it waits for a thread like one.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] where the queue is full.
    pub async fn judge(
        &self,
        password: Password,
        policy: PasswordPolicy,
        context: Vec<String>,
    ) -> Result<Result<Password, PasswordRefusal>, Overloaded> {
        let (reply, answer) = oneshot::channel();
        let breached = self.breached.clone();
        self.enqueue(Job::Judge { password, policy, context, breached, reply })?;
        self.wait(answer).await
    }

    /// Gives `password` back where it is the one that was hashed. A `hash` of `None` stands for an
    /// unknown account: it takes the work of one of our hashes and gives nothing, so that time does
    /// not tell who has an account. A hash of another system, or of an earlier policy, takes its
    /// own time, until its user has signed in.
    ///
    /// A hash that cannot be read, or that asks for more work than is allowed, fits nothing.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] where the queue is full.
    pub async fn verify(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<Option<Password>, Overloaded> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Verify { password, hash, reply })?;
        Ok(self.wait(answer).await?.filter(|_| known))
    }

    fn enqueue(&self, job: Job) -> Result<(), Overloaded> {
        // Counted before it can be taken out again, so that the number never wraps below zero.
        self.load.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(Queued { job, since: Instant::now() }).map_err(|_| {
            self.load.waiting.fetch_sub(1, Ordering::Relaxed);
            self.load.refused.fetch_add(1, Ordering::Relaxed);
            self.overloaded()
        })
    }

    /// How busy the pool is.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    async fn wait<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Overloaded> {
        // Nobody answers only if the thread panicked at this job.
        answer.await.map_err(|_| self.overloaded())
    }

    fn overloaded(&self) -> Overloaded {
        let rounds = self.load.waiting.load(Ordering::Relaxed).div_ceil(self.threads);
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        Overloaded { retry_after: self.cost.estimate().saturating_mul(rounds).max(RETRY_AFTER_MIN) }
    }
}

impl fmt::Debug for HashPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashPool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// The hash of an account without a password, as [`HashPool::no_password`] answers it.
///
/// No password hashes to zeros; that is as good as a hash of an unknown password.
pub fn no_password(policy: &HashingPolicy) -> PasswordHash {
    PasswordHash::from_phc(Phc::ours(Cost::of(policy), vec![0; 16]).to_string())
}

/// The queue is full; nothing was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded {
    /// About when the queue will have been worked off; at least a second.
    pub retry_after: Duration,
}

/// How busy the pool is, and has been.
#[derive(Debug)]
pub(crate) struct Load {
    /// How many jobs wait for a thread.
    pub(crate) waiting: AtomicUsize,
    /// How many threads work.
    pub(crate) busy: AtomicUsize,
    /// How many jobs found the queue full.
    pub(crate) refused: AtomicU64,
    /// How long jobs have waited for a thread.
    pub(crate) waits: Histogram,
}

impl Load {
    fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            waits: Histogram::of_requests(),
        }
    }
}

/// A job on its way to a thread.
struct Queued {
    job: Job,
    since: Instant,
}

enum Job {
    Hash {
        password: Password,
        salt: [u8; 16],
        cost: Cost,
        reply: oneshot::Sender<PasswordHash>,
    },
    Judge {
        password: Password,
        policy: PasswordPolicy,
        context: Vec<String>,
        breached: Option<Arc<BreachedList>>,
        reply: Verdict,
    },
    Verify {
        password: Password,
        hash: PasswordHash,
        reply: Verified,
    },
}

type Verdict = oneshot::Sender<Result<Password, PasswordRefusal>>;
type Verified = oneshot::Sender<Option<Password>>;

/// The life of one thread.
fn work(jobs: &Mutex<Receiver<Queued>>, load: &Load, mut memory: Memory) {
    lower_priority();
    loop {
        // The lock is held while waiting for a job, never while working on one.
        let queued = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Queued { job, since }) = queued else { return };
        load.waiting.fetch_sub(1, Ordering::Relaxed);
        load.waits.observe(since.elapsed());
        load.busy.fetch_add(1, Ordering::Relaxed);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run(&mut memory)));
        load.busy.fetch_sub(1, Ordering::Relaxed);
        if done.is_err() {
            // The panic hook has reported it; its requester is answered by the dropped channel.
            memory.blocks = Vec::new();
        }
    }
}

/// A flood of sign-ins must not starve the requests that need no hash.
fn lower_priority() {
    // On Linux this is the thread's own priority; elsewhere it would be the whole process's. A
    // system that refuses is no reason to stop.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
}

impl Job {
    fn run(self, memory: &mut Memory) {
        match self {
            // Who has gone away by now needs no work; once begun, it is carried through.
            Self::Hash { reply, .. } if reply.is_closed() => {}
            Self::Judge { reply, .. } if reply.is_closed() => {}
            Self::Verify { reply, .. } if reply.is_closed() => {}
            Self::Hash { password, salt, cost, reply } => {
                let mut phc = Phc::ours(cost, salt.to_vec());
                phc.output = memory.argon2(password.expose(), &phc);
                // A requester that went away meanwhile needs no answer; so below.
                let _ = reply.send(PasswordHash::from_phc(phc.to_string()));
            }
            Self::Judge { password, policy, context, breached, reply } => {
                let context: Vec<&str> = context.iter().map(String::as_str).collect();
                let judged = policy.judge(&password, &context);
                let judged = judged.and_then(|()| match breached {
                    Some(list) if is_breached(&list, &password) => Err(PasswordRefusal::Breached),
                    Some(_) | None => Ok(password),
                });
                let _ = reply.send(judged);
            }
            Self::Verify { password, hash, reply } => {
                let is_right = memory.verify(&password, &hash);
                let _ = reply.send(Some(password).filter(|_| is_right));
            }
        }
    }
}

fn is_breached(list: &BreachedList, password: &Password) -> bool {
    list.holds(password).unwrap_or_else(|error| {
        tracing::error!(%error, "the list of leaked passwords cannot be read");
        false
    })
}

/// The memory of one thread, kept from hash to hash: fresh pages cost a quarter of the time.
struct Memory {
    blocks: Vec<Block>,
    kept_max: usize,
    /// Held for a hash that takes more memory than those of the policy, so that of all threads one
    /// at a time does.
    alone: Arc<Mutex<()>>,
}

impl Memory {
    /// Memory that takes nothing before its first use, and keeps what one hash of the policy takes.
    fn new(cost: Cost) -> Self {
        Self { blocks: Vec::new(), kept_max: cost.memory_kib as usize, alone: Arc::default() }
    }

    fn verify(&mut self, password: &Password, hash: &PasswordHash) -> bool {
        match StoredHash::parse(hash.as_phc()) {
            Ok(stored) => self.verify_stored(password, &stored),
            Err(unfit) => {
                tracing::error!("a stored password hash fits nothing: it {unfit}");
                false
            }
        }
    }

    /// Other systems have hashed what was typed, and so must whoever compares with their hashes.
    fn verify_stored(&mut self, password: &Password, stored: &StoredHash) -> bool {
        let alone = Arc::clone(&self.alone);
        let is_large = stored.memory_kib() as usize > self.kept_max;
        let _guard = is_large.then(|| alone.lock().unwrap_or_else(PoisonError::into_inner));
        let (normal, typed) = (password.expose(), password.expose_typed());
        match stored {
            // Another system's may look like ours, and has normalised nothing.
            StoredHash::Ours(phc) => {
                self.argon2_fits(normal, phc) || (typed != normal && self.argon2_fits(typed, phc))
            }
            StoredHash::Argon2(phc) => self.argon2_fits(typed, phc),
            StoredHash::Bcrypt(hash) => hash.verify(typed.as_bytes()),
            StoredHash::FirebaseScrypt(hash) => hash.verify(typed.as_bytes()),
            StoredHash::Pbkdf2(hash) => hash.verify(typed.as_bytes()),
            StoredHash::Scrypt(hash) => hash.verify(typed.as_bytes()),
        }
    }

    fn argon2_fits(&mut self, text: &str, phc: &Phc) -> bool {
        let output = self.argon2(text, phc);
        aws_lc_rs::constant_time::verify_slices_are_equal(&output, &phc.output).is_ok()
    }

    /// The output for this text with algorithm, cost, salt and output length of `phc`.
    fn argon2(&mut self, text: &str, phc: &Phc) -> Vec<u8> {
        let mut output = vec![0; phc.output.len()];
        let argon2 = phc.argon2();
        let block_count = argon2.params().block_count();
        if self.blocks.len() < block_count {
            // Writes every block and so faults every page in.
            self.blocks = vec![Block::new(); block_count];
        }
        argon2
            .hash_password_into_with_memory(
                text.as_bytes(),
                &phc.salt,
                &mut output,
                &mut self.blocks[..block_count],
            )
            .expect("cost, salt and lengths were checked when the Phc was made");
        // A costly stored hash must not hold a gigabyte for ever.
        if self.blocks.len() > self.kept_max {
            self.blocks = Vec::new();
        }
        output
    }
}

const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

#[cfg(test)]
mod tests;

//! One history: what happens is drawn move by move, until everything comes to rest.

use std::rc::Rc;

use keyward::store::layer::Call;

use crate::browser::{Browser, Next, Thief};
use crate::common::Answer;
use crate::figures::{Figure, Figures};
use crate::host::{Disk, Host};
use crate::log::Log;
use crate::machine::{Machine, Step};
use crate::message::{Act, Message, Party, Said};
use crate::network::{Passage, Stage};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::planted::Bug;
use crate::promise::Breach;
use crate::random::Random;
use crate::stepped_store::{Point, Trouble, When, changes_sessions};

/// Everybody and everything in a history. `settlement` has its end, `trouble` what befalls it.
pub(crate) struct History<'a> {
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) machine: Machine<'a>,
    pub(crate) browsers: Vec<Browser>,
    pub(crate) thief: Thief,
    pub(crate) oracle: Oracle,
    pub(crate) figures: Figures,
    pub(crate) log: Log,
    pub(crate) passages: Vec<Passage>,
    sent: u64,
    /// Which password the user takes for the present one.
    password: usize,
    pub(crate) bug: Option<Bug>,
    /// How long the log was before the last call that may have written.
    pub(crate) log_before: u64,
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Act { browser: usize, tab: u64 },
    Arrive(usize),
    Lose(usize),
    Double(usize),
    Step(usize),
    Return(usize),
    GiveUp { browser: usize, message: u64 },
    Wait,
    Copy,
    Steal,
    Guess,
    Revoke,
    Crash,
}

impl<'a> History<'a> {
    /// Everything as it stands before the first move.
    pub(crate) fn new(host: &'a Host, disk: Disk, seed: u64, bug: Option<Bug>, log: Log) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        Self {
            machine: Machine::start(host, disk, plan.clone(), bug, seed),
            browsers: (0..plan.browsers).map(|number| Browser::new(number, bug)).collect(),
            thief: Thief::default(),
            oracle: Oracle::new(&plan),
            figures: Figures::default(),
            passages: Vec::new(),
            sent: 0,
            password: 0,
            log_before: 0,
            random,
            plan,
            bug,
            log,
        }
    }

    /// Plays it to its end.
    pub(crate) fn play(&mut self) -> Result<(), Breach> {
        self.figures.count(Figure::Histories);
        self.note(|history| format!("{:?}", history.plan));
        for browser in 0..self.browsers.len() {
            let id = self.next_id();
            let act = Act::Login { password: self.password };
            let message = self.browsers[browser].send(id, 0, act, true);
            self.call(message)?;
        }
        for _ in 0..self.plan.moves {
            let moves = self.moves();
            if let Some(next) = self.random.weighted(&moves) {
                self.make(next)?;
            }
        }
        self.come_to_rest()?;
        self.settle()
    }

    /// What may happen next, by weight.
    fn moves(&self) -> Vec<(u64, Move)> {
        let Plan { losses, crashes, waits, departures, has_thief, .. } = self.plan;
        let mut moves = vec![
            (waits, Move::Wait),
            (crashes, Move::Crash),
            (departures, Move::Revoke),
            (2, Move::Guess),
        ];
        if has_thief {
            let holds = u64::from(self.thief.jar.usable_token().is_some());
            moves.extend([(4, Move::Copy), (8 * holds, Move::Steal)]);
        }
        for (index, passage) in self.passages.iter().enumerate() {
            match passage.stage {
                Stage::Leaving => {
                    moves.extend([(32, Move::Arrive(index)), (losses, Move::Double(index))]);
                }
                Stage::Arrived { .. } => moves.push((48, Move::Step(index))),
                Stage::Returning(_) => moves.push((32, Move::Return(index))),
            }
            moves.push((losses, Move::Lose(index)));
        }
        for (browser, state) in self.browsers.iter().enumerate() {
            let tabs = (0..TABS).filter(|tab| state.may_send(*tab));
            moves.extend(tabs.map(|tab| (16, Move::Act { browser, tab })));
            moves.extend(state.awaited().map(|message| {
                let is_lost = !self.passages.iter().any(|found| found.message.id == message);
                (if is_lost { 32 } else { losses }, Move::GiveUp { browser, message })
            }));
        }
        moves
    }

    fn make(&mut self, next: Move) -> Result<(), Breach> {
        match next {
            Move::Act { browser, tab } => self.act(browser, tab),
            Move::Arrive(index) => self.arrive(index),
            Move::Lose(index) => self.lose(index),
            Move::Double(index) => self.double(index),
            Move::Step(index) => return self.work(index),
            Move::Return(index) => self.deliver(index),
            Move::GiveUp { browser, message } => self.give_up(browser, message),
            Move::Wait => return self.wait(),
            Move::Copy => self.copy_jar(),
            Move::Steal => self.steal(),
            Move::Guess => return self.guess(),
            Move::Revoke => return self.revoke(),
            Move::Crash => return self.crash(),
        }
        Ok(())
    }

    /// A tab holds the lock and sends something.
    fn act(&mut self, browser: usize, tab: u64) {
        let now = self.machine.now();
        self.browsers[browser].expire(now);
        let password = self.password;
        let departures = self.plan.departures;
        let act = match self.browsers[browser].jar.usable_token() {
            None => Some(Act::Login { password }),
            Some(_) => self.random.weighted(&[
                (20, Act::Refresh),
                (2, Act::Csrf),
                (departures, Act::Login { password }),
                (departures, Act::Logout),
                (departures, Act::LogoutAll),
                (departures, Act::ChangePassword { current: password }),
            ]),
        };
        self.send(browser, tab, act.expect("a refresh weighs something"), true);
    }

    fn send(&mut self, browser: usize, tab: u64, act: Act, is_first: bool) {
        let id = self.next_id();
        let message = self.browsers[browser].send(id, tab, act, is_first);
        self.note(|_| format!("tab {tab} sends {message}"));
        self.post(message);
    }

    pub(crate) fn post(&mut self, message: Message) {
        self.oracle.sent(&message);
        self.passages.push(Passage::leaving(Rc::new(message)));
    }

    fn arrive(&mut self, index: usize) {
        let message = Rc::clone(&self.passages[index].message);
        self.note(|_| format!("request {} arrives", message.id));
        self.figures.count(Figure::Requests);
        if let Party::Browser(browser) = message.from
            && !self.browsers[browser].awaits(message.id)
        {
            self.figures.count(Figure::ArrivedAfterAbort);
        }
        let answering = self.machine.accept(message.request());
        self.passages[index].stage = Stage::Arrived { answering, at: None };
    }

    /// The network loses a message. With its connection the service drops the request where it
    /// stands.
    fn lose(&mut self, index: usize) {
        let passage = self.passages.remove(index);
        self.figures.count(Figure::MessagesLost);
        let what = match passage.stage {
            Stage::Leaving => "request",
            Stage::Arrived { .. } => "connection of",
            Stage::Returning(_) => "answer to",
        };
        self.note(|_| format!("{what} {} is lost", passage.message.id));
    }

    fn double(&mut self, index: usize) {
        let message = Rc::clone(&self.passages[index].message);
        self.figures.count(Figure::RequestsDoubled);
        self.note(|_| format!("request {} will come twice", message.id));
        self.passages.push(Passage::leaving(message));
    }

    /// A request goes on: often to its end, as most do, else to its next stop.
    fn work(&mut self, index: usize) -> Result<(), Breach> {
        let (count, id) = (self.passages.len(), self.passages[index].message.id);
        let goes_through = self.random.percent(30);
        loop {
            let trouble = self.trouble();
            self.step(index, trouble)?;
            // A crash, or a client that no longer waits, has taken it.
            let is_there = self.passages.len() == count && self.passages[index].message.id == id;
            if !goes_through || !is_there || !self.passages[index].is_at_service() {
                return Ok(());
            }
        }
    }

    /// One request goes on to its next stop.
    pub(crate) fn step(&mut self, index: usize, trouble: Trouble) -> Result<(), Breach> {
        if !trouble.stuck && self.is_too_late(index) {
            return Ok(());
        }
        let message = Rc::clone(&self.passages[index].message);
        let Stage::Arrived { answering, at } = &mut self.passages[index].stage else {
            return Ok(());
        };
        let begins = at.filter(|point| point.when == When::Before).map(|point| point.call);
        let writes = begins.is_some_and(changes_sessions) && !trouble.stuck;
        if writes {
            self.log_before = self.machine.log_bytes();
        }
        let step = self.machine.step(answering, trouble);
        if let Step::Stopped(point) = &step {
            *at = Some(*point);
            let begins_swap = point.call == Call::Rotate && point.when == When::Before;
            if trouble.snapshot && begins_swap {
                self.figures.count(Figure::SnapshotsRead);
            }
        }
        if writes {
            if trouble.power_cut && self.machine.log_bytes() > self.log_before {
                self.note(|_| format!("request {} commits", message.id));
                return self.crash_in_commit();
            }
            let swapped = message.token.as_ref().filter(|_| begins == Some(Call::Rotate));
            self.oracle.check_rows(&self.machine, swapped)?;
        }
        match step {
            Step::Stopped(_) if trouble.stuck => Ok(()),
            Step::Stopped(point) => {
                let fault = trouble.fault.filter(|_| begins.is_some());
                let fault = fault.map(|fault| format!(" ({fault:?})")).unwrap_or_default();
                self.note(|_| format!("request {} is at {point}{fault}", message.id));
                Ok(())
            }
            Step::Answered(answer) => self.answered(index, answer),
        }
    }

    fn answered(&mut self, index: usize, answer: Answer) -> Result<(), Breach> {
        let passage = &mut self.passages[index];
        let message = Rc::clone(&passage.message);
        let said = Said::in_answer(&answer);
        passage.stage = Stage::Returning(Rc::new(answer));
        self.note(|_| format!("request {} is answered {said}", message.id));
        self.tally(&message, &said);
        self.oracle.check_answer(&self.machine, &message, &said, &mut self.figures)
    }

    /// The network gives up on what nobody waits for once it is out of the bounds of the promise.
    /// A client that comes too late itself gets no promise.
    fn is_too_late(&mut self, index: usize) -> bool {
        let Passage { message, stage } = &self.passages[index];
        let message = Rc::clone(message);
        let (Party::Browser(browser), Some(token), Act::Refresh) =
            (message.from, &message.token, message.act)
        else {
            return false;
        };
        // Past the limit the decision rests on a read instead of the swap.
        let begins =
            [Call::Rotate, Call::FindSession].map(|call| Point { call, when: When::Before });
        let Stage::Arrived { at: Some(at), .. } = stage else { return false };
        if !begins.contains(at) || self.oracle.is_in_bounds(token, self.machine.now()) {
            return false;
        }
        if self.browsers[browser].awaits(message.id) {
            self.figures.count(Figure::CameTooLate);
            self.note(|_| format!("request {} comes too late", message.id));
            self.oracle.came_too_late(token.session);
            return false;
        }
        self.note(|_| format!("request {} is dropped: nobody waits for it", message.id));
        self.passages.remove(index);
        true
    }

    /// An answer reaches whoever sent the request.
    fn deliver(&mut self, index: usize) {
        let passage = self.passages.remove(index);
        if let Stage::Returning(answer) = &passage.stage {
            self.note(|_| format!("answer to {} arrives", passage.message.id));
            self.receive(&passage.message, answer);
        }
    }

    fn receive(&mut self, message: &Message, answer: &Answer) {
        let now = self.machine.now();
        match message.from {
            Party::Browser(browser) => {
                let awaited = self.browsers[browser].awaits(message.id);
                let next = self.browsers[browser].receive(message, answer, now);
                if awaited {
                    self.learn_password(message, answer);
                }
                if let Next::TryAgain { tab } = next {
                    self.send(browser, tab, Act::Refresh, false);
                }
            }
            Party::Thief => self.thief.receive(message, answer, now),
            Party::Stranger => {}
        }
    }

    /// Who loses track of which password is the present one tries the other.
    fn learn_password(&mut self, message: &Message, answer: &Answer) {
        let is_wrong = answer.status.as_u16() == 401;
        match message.act {
            Act::Login { password } if is_wrong => self.password = 1 - password,
            Act::ChangePassword { current } if answer.status.is_success() => {
                self.password = 1 - current;
            }
            _ => {}
        }
    }

    fn give_up(&mut self, browser: usize, message: u64) {
        self.figures.count(Figure::RequestsAborted);
        self.note(|_| format!("browser {browser} gives request {message} up"));
        self.browsers[browser].give_up(message);
    }

    /// The network forgets what is on its way, the service ends what it has begun, and everybody
    /// stops waiting.
    fn come_to_rest(&mut self) -> Result<(), Breach> {
        self.note(|_| "everything comes to rest".to_owned());
        self.passages.retain(Passage::is_at_service);
        while let Some(index) = self.passages.iter().position(Passage::is_at_service) {
            self.step(index, Trouble::default())?;
        }
        self.passages.clear();
        for browser in 0..self.browsers.len() {
            for message in self.browsers[browser].awaited().collect::<Vec<_>>() {
                self.browsers[browser].give_up(message);
            }
        }
        Ok(())
    }

    /// Sends a request and has it answered before anything else happens.
    pub(crate) fn call(&mut self, message: Message) -> Result<Rc<Answer>, Breach> {
        let id = message.id;
        self.note(|_| format!("sends {message}"));
        self.post(message);
        let index = self.passages.len() - 1;
        self.arrive(index);
        loop {
            match &self.passages[index].stage {
                Stage::Returning(answer) => {
                    let answer = Rc::clone(answer);
                    let passage = self.passages.remove(index);
                    debug_assert_eq!(passage.message.id, id);
                    self.receive(&passage.message, &answer);
                    return Ok(answer);
                }
                _ => self.step(index, Trouble::default())?,
            }
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    pub(crate) fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.log.is_kept() {
            let line = line(self);
            self.log.add(self.machine.now(), line);
        }
    }

    fn tally(&mut self, message: &Message, said: &Said) {
        let figure = match (message.act, said.status.as_u16(), said.code.as_str()) {
            (Act::Login { .. }, 200, _) => Figure::SignIns,
            (Act::Logout | Act::LogoutAll, 200, _) => Figure::SignOuts,
            (Act::ChangePassword { .. }, 200, _) => Figure::PasswordChanges,
            (_, 409, _) => Figure::Conflicts,
            (_, 429, _) => Figure::LimitedAnswers,
            (_, 503, "OVERLOADED") => Figure::DeadlinesMissed,
            (_, 503, _) => Figure::UnavailableAnswers,
            (_, 401, "REFRESH_TOKEN_REUSED") => Figure::ReusesDetected,
            (_, 401, "SESSION_REVOKED") => Figure::RevokedAnswers,
            (_, 401, "SESSION_EXPIRED") => Figure::ExpiredAnswers,
            _ => return,
        };
        self.figures.count(figure);
    }
}

const TABS: u64 = 2;

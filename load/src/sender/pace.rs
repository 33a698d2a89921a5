//! When requests of an open loop are due.
use std::{
    io,
    time::{Duration, Instant},
};

/// Times that are evenly spaced, and never put off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start: Instant,
    rate: f64,
    next: u64,
    /// There are none after this.
    end: Option<Instant>,
}

/// Waits for times more exactly than tokio's own timer, which counts milliseconds.
#[derive(Debug)]
pub(super) struct Timer {
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>,
    /// What it is set to.
    #[cfg(target_os = "linux")]
    armed: Option<Instant>,
}

impl Schedule {
    /// So many times a second, from `start` on.
    pub(super) const fn new(start: Instant, rate: f64) -> Self {
        Self { start, rate, next: 0, end: None }
    }

    /// From now on there is no time after `end`.
    pub(super) const fn end(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// The next time, if there is one.
    pub(super) fn next(&self) -> Option<Instant> {
        let next = self.start + Duration::from_secs_f64(self.next as f64 / self.rate);
        Some(next).filter(|next| self.end.is_none_or(|end| *next <= end))
    }

    /// The next time if it has come. Those that were missed come one after the other.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|due| *due <= now);
        self.next += u64::from(due.is_some());
        due
    }
}

#[cfg(target_os = "linux")]
impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, for types that don't own what they name; an OwnedFd does"
        )]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Self { timer, armed: None })
    }

    /// Waits until `due`.
    pub(super) async fn wait(&mut self, due: Instant) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Answers get their turn, too.
            tokio::task::yield_now().await;
            return Ok(());
        }
        // Whoever waits is interrupted by each answer, and waits for the same time again.
        if self.armed != Some(due) {
            let it_value = Timespec::try_from(left).map_err(io::Error::other)?;
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
            self.armed = Some(due);
        }
        loop {
            let mut ready = self.timer.readable().await?;
            // How often it has expired since it was set: once, or it is another time's expiry that woke this one.
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8])?)) {
                self.armed = None;
                return read.map(drop);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits until `due`.
    pub(super) async fn wait(&mut self, due: Instant) -> io::Result<()> {
        tokio::time::sleep_until(due.into()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_keeps_its_time() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut schedule = Schedule::new(start, 100.0);
        assert_eq!(schedule.take(at(0)), Some(at(0)));
        assert_eq!(schedule.take(at(5)), None);
        assert_eq!(schedule.next(), Some(at(10)));
        // A stall of 30 ms: what was due meanwhile counts from when it was due.
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(at(40))).collect();
        assert_eq!(late, [at(10), at(20), at(30), at(40)]);
        assert_eq!(schedule.next(), Some(at(50)));
        schedule.end(at(60));
        let last: Vec<_> = std::iter::from_fn(|| schedule.take(at(1_000))).collect();
        assert_eq!((last, schedule.next()), (vec![at(50), at(60)], None));
    }

    #[test]
    fn a_timer_is_never_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut timer = Timer::new().expect("a timer");
            for microseconds in [0, 100, 2_000, 300] {
                let due = Instant::now() + Duration::from_micros(microseconds);
                timer.wait(due).await.expect("the timer works");
                assert!(Instant::now() >= due);
            }
        });
    }
}

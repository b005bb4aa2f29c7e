//! One connection of a simulated processor: it dials, sends everything due, and repeats until acknowledged.

use super::*;

/// One connection's task.
pub(super) struct Line {
    pub(super) outbox: Arc<Outbox>,
    pub(super) number: u64,
    pub(super) dialler: Dialler,
    pub(super) mac: Option<MacKey>,
    /// To be sent as soon as the gate has room.
    pub(super) ready: VecDeque<FromProcessor>,
    /// Sent on this connection and not acknowledged.
    pub(super) unacked: BTreeMap<CallbackId, (Instant, FromProcessor)>,
    /// Callbacks that may be unacknowledged; `None` before the gate's `HelloAck`.
    pub(super) window: Option<usize>,
    pub(super) orders: watch::Receiver<bool>,
}

impl Line {
    pub(super) async fn run(mut self, mut rng: Rng) {
        let mut backoff = Backoff::new(DIAL_AGAIN_FIRST, DIAL_AGAIN_MOST);
        while *self.orders.borrow() {
            self.outbox.lock().dials += 1;
            let error = match tokio::time::timeout(DIAL_TIMEOUT, self.dialler.dial()).await {
                Ok(Ok(stream)) => {
                    let ended = self.serve(Pipe::new(stream)).await;
                    if self.window.take().is_some() {
                        backoff.succeeded();
                        self.outbox.lock().open -= 1;
                    }
                    self.hand_over();
                    match ended {
                        None => return,
                        Some(error) => {
                            self.outbox.lock().disconnects += 1;
                            error
                        }
                    }
                }
                Ok(Err(error)) => {
                    self.outbox.lock().dials_failed += 1;
                    error.to_string()
                }
                Err(_) => {
                    self.outbox.lock().dials_failed += 1;
                    "no connection in time".to_owned()
                }
            };
            self.outbox.lock().last_error = Some(error);
            tokio::select! {
                () = tokio::time::sleep(backoff.wait(&mut rng)) => {}
                _ = self.orders.changed() => {}
            }
        }
    }

    /// What this connection did not get done is for the others, or for the next one.
    fn hand_over(&mut self) {
        let mut state = self.outbox.lock();
        state.unacked -= self.unacked.len();
        let now = Instant::now();
        let left = std::mem::take(&mut self.unacked).into_values().map(|(_, message)| message);
        for message in left.chain(std::mem::take(&mut self.ready)) {
            match message {
                FromProcessor::Answer(answer) => state.put(now, self.number, Act::Answer(answer)),
                FromProcessor::Notification(notification) => state.put(now, self.number, Act::Notify(notification)),
                FromProcessor::Settlement(part) => state.put(now, self.number, Act::Settle(part)),
                FromProcessor::Hello(_)
                | FromProcessor::Credit { .. }
                | FromProcessor::Drain(_)
                | FromProcessor::GoAway(_) => {}
            }
        }
        drop(state);
        self.outbox.news.notify_waiters();
    }

    /// Serves one connection until it ends; `None` when the processor is to stop.
    async fn serve(&mut self, mut pipe: Pipe) -> Option<String> {
        let now = self.outbox.pace.now();
        let mut link = ProcessorClientLink::new(self.outbox.id.clone(), self.mac.clone(), now.mono);
        let hello = FromProcessor::Hello(ProcessorHello {
            processor: self.outbox.id.clone(),
            instance: format!("sim-{}", self.number).into(),
            capabilities: self.outbox.lock().processor.settings().capabilities.clone(),
            clock: now.wall,
        });
        if let Err(error) = link.send(&hello, now.mono, pipe.out()) {
            return Some(error.to_string());
        }
        let mut messages = Vec::new();
        let mut reply = Vec::new();
        loop {
            if !*self.orders.borrow() {
                pipe.close(Duration::from_secs(1)).await;
                return None;
            }
            let next = match self.window {
                Some(_) => match self.act() {
                    Some(next) => next,
                    None => return Some("closed as the script or chance decided".to_owned()),
                },
                None => Instant::now() + CHECK_INTERVAL,
            };
            if let Err(error) = self.send(&mut link, &mut pipe) {
                return Some(error.to_string());
            }
            let now = self.outbox.pace.now();
            let until = match link.next_deadline() {
                Some(at) => next.min(Instant::now() + self.outbox.pace.until_mono(at, now)),
                None => next,
            };
            let outbox = Arc::clone(&self.outbox);
            let outcome: Result<(), LinkError> = tokio::select! {
                turn = pipe.turn(until) => match turn {
                    Ok(PipeEvent::Bytes(bytes)) => link.receive(bytes, self.outbox.pace.now(), &mut messages, &mut reply),
                    Ok(PipeEvent::Sent) => Ok(()),
                    Ok(PipeEvent::Time) => {
                        self.repeat();
                        let now = self.outbox.pace.now().mono;
                        match link.next_deadline() {
                            Some(at) if at <= now => link.on_deadline(now, pipe.out()),
                            _ => Ok(()),
                        }
                    }
                    Err(error) => return Some(error.to_string()),
                },
                () = outbox.news.notified() => Ok(()),
                _ = self.orders.changed() => Ok(()),
            };
            pipe.out().append(&mut reply);
            self.on_messages(&mut messages);
            if let Err(error) = outcome {
                return Some(error.to_string());
            }
        }
    }

    /// Carries out due actions and returns the time of the next check; `None` when this connection is to be closed.
    fn act(&mut self) -> Option<Instant> {
        let outbox = Arc::clone(&self.outbox);
        let mut state = outbox.lock();
        let now = Instant::now();
        let wall = outbox.pace.now().wall;
        let mut close = false;
        while let Some(entry) = state.events.first_entry()
            && entry.key().0 <= now
        {
            let (line, act) = entry.remove();
            match act {
                Act::Answer(answer) => self.ready.push_back(FromProcessor::Answer(answer)),
                Act::Notify(notification) => self.ready.push_back(FromProcessor::Notification(notification)),
                Act::Settle(part) => self.ready.push_back(FromProcessor::Settlement(part)),
                Act::Close => close |= line == self.number,
                Act::Arrive(operation) => {
                    let steps = state.processor.arrive(&operation, wall);
                    state.note(&Input::Arrived(*operation, wall), &steps);
                    outbox.schedule(&mut state, self.number, steps, &mut self.ready);
                }
            }
        }
        let lapsed = state.processor.expire(wall);
        if !lapsed.is_empty() {
            let notify = |lapsed: &Notification| Step { after: TimeSpan::ZERO, act: Act::Notify(lapsed.clone()) };
            let steps: Vec<Step> = lapsed.iter().map(notify).collect();
            state.note(&Input::TimePassed(wall), &steps);
        }
        state.sync();
        self.ready.extend(lapsed.into_iter().map(FromProcessor::Notification));
        if state.dead {
            self.ready.clear();
        }
        let mut next = now + CHECK_INTERVAL;
        if let Some(((at, _), _)) = state.events.first_key_value() {
            next = next.min(*at);
        }
        (!close).then_some(next)
    }

    fn on_messages(&mut self, messages: &mut Vec<ToProcessor>) {
        if messages.is_empty() {
            return;
        }
        let outbox = Arc::clone(&self.outbox);
        let wall = outbox.pace.now().wall;
        let mut state = outbox.lock();
        let before = state.next_number;
        for message in messages.drain(..) {
            match message {
                ToProcessor::HelloAck(ack) => {
                    self.window = Some(usize::try_from(ack.terms.window).unwrap_or(usize::MAX));
                    state.greetings += 1;
                    state.open += 1;
                }
                ToProcessor::Operation(operation) => {
                    let steps = state.processor.decide(&operation, wall);
                    state.note(&Input::Operation(operation, wall), &steps);
                    outbox.schedule(&mut state, self.number, steps, &mut self.ready);
                }
                ToProcessor::Ack { callback } => {
                    if let Some((_, message)) = self.unacked.remove(&callback) {
                        state.unacked -= 1;
                        state.note_over(callback, &message);
                    }
                    state.acked += 1;
                }
                ToProcessor::Nack { callback, code, text: _ } => {
                    // A premature message is repeated, like an unacknowledged one.
                    if code != Code::NotYet
                        && let Some((_, message)) = self.unacked.remove(&callback)
                    {
                        state.unacked -= 1;
                        state.note_over(callback, &message);
                    }
                    *state.refused.entry(code.number()).or_default() += 1;
                }
                // It goes on until the gate closes, and what is unanswered then is answered on another connection.
                ToProcessor::Drain(_) => {}
                // The link reports it as its end.
                ToProcessor::GoAway(_) => {}
            }
        }
        let put = state.next_number != before;
        state.sync();
        if state.dead {
            self.ready.clear();
        }
        drop(state);
        if put {
            outbox.news.notify_waiters();
        }
    }

    /// Sends what is ready, as far as window and backlog allow.
    fn send(&mut self, link: &mut ProcessorClientLink, pipe: &mut Pipe) -> Result<(), SendError> {
        let Some(window) = self.window else { return Ok(()) };
        let now = self.outbox.pace.now().mono;
        let before = self.unacked.len();
        while pipe.backlog() < BACKLOG_MAX
            && self.unacked.len() < window
            && let Some(message) = self.ready.pop_front()
        {
            link.send(&message, now, pipe.out())?;
            let callback = match &message {
                FromProcessor::Answer(answer) => answer.callback,
                FromProcessor::Notification(notification) => notification.callback,
                FromProcessor::Settlement(part) => part.callback,
                FromProcessor::Hello(_)
                | FromProcessor::Credit { .. }
                | FromProcessor::Drain(_)
                | FromProcessor::GoAway(_) => continue,
            };
            self.unacked.insert(callback, (Instant::now(), message));
        }
        let more = self.unacked.len() - before;
        if more > 0 {
            self.outbox.lock().unacked += more;
        }
        Ok(())
    }

    /// Sends again what has not been acknowledged for too long.
    fn repeat(&mut self) {
        let now = Instant::now();
        for (sent, message) in self.unacked.values_mut() {
            if now.duration_since(*sent) >= REPEATED_AFTER {
                *sent = now;
                self.ready.push_back(message.clone());
            }
        }
    }
}

package protocol

import "time"

// event has one thing happen: the next bytes of the program say what.
func (f *fuzzFleet) event() {
	switch f.next() % 20 {
	case 0, 1:
		f.pass(time.Duration(f.next()) * 200 * time.Microsecond)
	case 2:
		f.pass(time.Duration(f.next()) * fuzzTTL / 500)
	case 3, 4, 5:
		f.ask(f.state(), f.next())
	case 6, 7:
		if l := f.someLease(); l != nil {
			f.release(l)
		}
	case 8:
		s := f.state()
		if n := len(s.waiters); n > 0 {
			s.Leave(f.now, s.waiters[int(f.next())%n], ReasonCancelled)
		}
	case 9, 10, 11:
		if sent := f.someBatch(); sent != nil {
			f.execute(sent)
		}
	case 12, 13:
		if sent := f.someBatch(); sent != nil {
			f.execute(sent)
			f.answer(sent)
		}
	case 14: // its state is told that it failed; it may be executed all the same, now or later
		if sent := f.someBatch(); sent != nil && !sent.answered {
			sent.answered = true
			fail(sent.batch, errNet)
			sent.state.Arrive(f.now, sent.batch)
		}
	case 15: // the client sends it twice
		if sent := f.someBatch(); sent != nil && len(f.sent) < 50 {
			f.sent = append(f.sent, &sentBatch{state: sent.state, batch: sent.batch, twin: true, answered: true})
		}
	case 16, 17:
		if n := len(f.notifications); n > 0 {
			i := int(f.next()) % n
			p := f.notifications[i]
			if f.next()%4 > 0 { // otherwise it comes again
				f.notifications = append(f.notifications[:i:i], f.notifications[i+1:]...)
			}
			f.notify(p)
		}
	case 18:
		switch f.next() % 4 {
		case 0:
			f.notifications = nil
		case 1:
			f.state().Subscribed(f.now)
		case 2:
			f.redis.queue = nil
		case 3:
			if n := len(f.sent); n > 0 { // lost on its way there or back
				i := int(f.next()) % n
				f.sent = append(f.sent[:i:i], f.sent[i+1:]...)
			}
		}
	case 19:
		switch f.next() % 3 {
		case 0:
			f.sync()
			f.redis.resize(int(f.next())%5 - 1)
			f.setCapacity()
		case 1:
			if l := f.someLease(); l != nil {
				f.sync()
				f.redis.revoke(l.holding.Grant.ID)
			}
		case 2:
			f.pass(fuzzTTL)
		}
	}
}

// setCapacity records the capacity that is in force from now on.
func (f *fuzzFleet) setCapacity() {
	f.capacities = append(f.capacities, inForce{f.now, f.redis.capacity()})
}

func (f *fuzzFleet) pass(d time.Duration) { f.now = f.now.Add(d) }

// sync sets the server's clock.
func (f *fuzzFleet) sync() { f.redis.now = serverAt(f.now) }

func (f *fuzzFleet) ask(s *fuzzState, how byte) {
	if len(s.waiters) > 20 {
		return
	}
	w := &Waiter{Weight: 1, MaxAttempts: s.attempts, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	if how&3 == 3 {
		w.Weight = 1 + int(how>>2&3)
	}
	switch how >> 4 & 7 {
	case 7:
		w.Once = true
	case 6:
		w.Deadline = f.now.Add(time.Duration(f.next()) * fuzzTTL / 100)
	case 5:
		w.Holding.MaxHold = time.Duration(1+int(f.next())) * fuzzTTL / 100
	}
	s.waiters = append(s.waiters, w)
	s.Ask(f.now, w)
}

func (f *fuzzFleet) someLease() *fuzzLease {
	if len(f.leases) == 0 {
		return nil
	}
	return f.leases[int(f.next())%len(f.leases)]
}

func (f *fuzzFleet) release(l *fuzzLease) {
	l.over = true
	for i := range f.leases {
		if f.leases[i] == l {
			f.leases = append(f.leases[:i:i], f.leases[i+1:]...)
			break
		}
	}
	l.state.Release(f.now, l.holding)
}

func (f *fuzzFleet) someBatch() *sentBatch {
	if len(f.sent) == 0 {
		return nil
	}
	return f.sent[int(f.next())%len(f.sent)]
}

// execute has the server run the calls of a batch.
func (f *fuzzFleet) execute(sent *sentBatch) {
	if sent.executed {
		return
	}
	f.sync()
	sent.executed = true
	for i := range sent.batch.Calls {
		sent.replies = append(sent.replies, f.redis.run(sent.batch, &sent.batch.Calls[i]))
	}
	f.notifications = append(f.notifications, f.redis.notifications...)
	f.redis.notifications = nil
}

// answer brings the replies of a batch to its state, unless that has got an error before.
func (f *fuzzFleet) answer(sent *sentBatch) {
	if sent.answered || !sent.executed {
		return
	}
	sent.answered = true
	for i := range sent.batch.Calls {
		sent.replies[i].fillIn(&sent.batch.Calls[i])
	}
	sent.state.Arrive(f.now, sent.batch)
}

// notify brings a notification to the state whose id it names.
func (f *fuzzFleet) notify(p modelNotification) {
	for _, s := range f.states {
		if s.owner == p.owner {
			s.Notified(f.now, p.Notification)
		}
	}
}

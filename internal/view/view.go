// Package view is what the command line and the page show of a semaphore, as JSON and for people. Times are by the
// server's clock.
package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// Schema is the version of the JSON. New fields do not change it.
const Schema = 1

// The states of a semaphore.
const (
	OK      = "ok"
	Paused  = "paused"
	Resized = "resized"
	Over    = "over"  // more is held than the capacity
	Stuck   = "stuck" // permits are free, and somebody waits
	Failed  = "failed"
)

// A Semaphore is one in a list.
type Semaphore struct {
	Name     string     `json:"name"`
	State    string     `json:"state"`
	Capacity int        `json:"capacity"`
	Declared int        `json:"declared_capacity"` // by the process with the latest grant
	TTL      float64    `json:"declared_ttl_s"`
	Held     int        `json:"held"`
	Waiting  int        `json:"waiting"`                 // callers
	Oldest   *float64   `json:"oldest_wait_s,omitempty"` // of those that are alive
	Expires  *time.Time `json:"next_expiry,omitempty"`
	Override *Override  `json:"override,omitempty"`
	Error    string     `json:"error,omitempty"` // why it could not be looked at

	ServerTime time.Time `json:"server_time"`
	Known      bool      `json:"-"` // somebody has declared a capacity, holds, waits, or has set one
}

// An Override is what an operator has set.
type Override struct {
	Capacity int        `json:"capacity"`
	By       string     `json:"by,omitempty"`
	At       *time.Time `json:"at,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Before   *int       `json:"before_pause,omitempty"`
}

// A Detail is one semaphore with who holds it and who waits.
type Detail struct {
	Schema int `json:"schema"`
	Semaphore
	Leases    int       `json:"leases"` // how many there are; Holders may list fewer
	Queue     int       `json:"queue"`  // and places, of which Waiters may list fewer
	Holders   []Holder  `json:"holders"`
	Waiters   []Waiter  `json:"waiters"`
	Processes []Process `json:"waiting_processes"`
}

// A Holder has a lease.
type Holder struct {
	Owner   string     `json:"owner"`
	Label   string     `json:"label,omitempty"`
	Weight  int        `json:"weight"`
	Slots   []int      `json:"slots,omitempty"`
	Asked   *time.Time `json:"asked_at,omitempty"` // by the holder's clock
	Expires time.Time  `json:"expires_at"`
	Revoked bool       `json:"revoked,omitempty"`
	ID      string     `json:"id"`
}

// A Waiter has a place in the queue.
type Waiter struct {
	Place  int       `json:"place"`
	Owner  string    `json:"owner"`
	Label  string    `json:"label,omitempty"`
	Weight int       `json:"weight"`
	Since  time.Time `json:"since"`
	Alive  bool      `json:"alive"`
	ID     string    `json:"id"`
}

// A Process has callers that wait.
type Process struct {
	Owner   string `json:"owner"`
	Callers int    `json:"callers"`
	Places  int    `json:"places"`
}

// OfSummary is what a list shows.
func OfSummary(s lease.Summary) Semaphore {
	if s.Err != nil {
		return Semaphore{Name: s.Name, State: Failed, Error: s.Err.Error(), Known: true}
	}
	v := Semaphore{
		Name: s.Name, Capacity: s.Capacity, Declared: s.OtherDeclared, TTL: s.OtherTTL.Seconds(), Held: s.Held, Waiting: s.Callers,
		Override: overrideOf(s.Resized, s.Capacity, s.Override), ServerTime: s.ServerTime,
		Known: s.Resized || s.OtherDeclared > 0 || s.Held > 0 || s.Places > 0,
	}
	if !s.NextExpiry.IsZero() {
		v.Expires = &s.NextExpiry
	}
	v.judge(s.Paused, s.FirstSince, s.FirstWeight)
	return v
}

// OfState is what is shown of one. It lists at most so many holders and waiters.
func OfState(s *lease.State, atMost int) Detail {
	v := Semaphore{
		Name: s.Name, Capacity: s.Capacity, Declared: s.OtherDeclared, TTL: s.OtherTTL.Seconds(), Held: s.Held,
		Override: overrideOf(s.Resized, s.Capacity, s.Override), ServerTime: s.ServerTime,
		Known: s.Resized || s.OtherDeclared > 0 || len(s.Holders) > 0 || len(s.Waiters) > 0,
	}
	d := Detail{Schema: Schema, Leases: len(s.Holders), Queue: len(s.Waiters), Holders: []Holder{}, Waiters: []Waiter{}, Processes: []Process{}}
	for _, p := range s.Waiting {
		v.Waiting += p.Callers
		d.Processes = append(d.Processes, Process{p.Owner, p.Callers, p.Places})
	}
	var first lease.Waiter // who is alive
	for _, w := range s.Waiters {
		alive := w.AliveUntil.After(s.ServerTime)
		if alive && first.ID == "" {
			first = w
		}
		if len(d.Waiters) < atMost {
			d.Waiters = append(d.Waiters, Waiter{w.Place, w.Owner, w.Label, w.Weight, w.Since, alive, w.ID})
		}
	}
	for _, h := range s.Holders[:min(atMost, len(s.Holders))] {
		one := Holder{Owner: h.Owner, Label: h.Label, Weight: h.Weight, Slots: h.Slots, Expires: h.Expires, Revoked: h.Revoked, ID: h.ID}
		if !h.AskedAt.IsZero() {
			one.Asked = &h.AskedAt
		}
		d.Holders = append(d.Holders, one)
	}
	if len(s.Holders) > 0 {
		v.Expires = &s.Holders[0].Expires
	}
	v.judge(s.Paused, first.Since, first.Weight)
	d.Semaphore = v
	return d
}

func overrideOf(resized bool, capacity int, o lease.Override) *Override {
	if !resized {
		return nil
	}
	v := &Override{Capacity: capacity, By: o.By, Reason: o.Reason}
	if !o.At.IsZero() {
		v.At = &o.At
	}
	if capacity == 0 && o.Before >= 0 {
		v.Before = &o.Before
	}
	return v
}

// stuckAfter is for how long the first of the queue waits before free permits are worth a word: two polls.
const stuckAfter = 2 * time.Second

// judge says in which state the semaphore is. first: of the queue, and alive.
func (v *Semaphore) judge(paused bool, firstSince time.Time, firstWeight int) {
	waits := time.Duration(0)
	if !firstSince.IsZero() {
		waits = v.ServerTime.Sub(firstSince)
		s := waits.Seconds()
		v.Oldest = &s
	}
	switch {
	case paused:
		v.State = Paused
	case v.Held > v.Capacity:
		v.State = Over
	case firstWeight > 0 && v.Held+firstWeight <= v.Capacity && waits > stuckAfter:
		v.State = Stuck
	case v.Override != nil:
		v.State = Resized
	default:
		v.State = OK
	}
}

// StateText is the state for people.
func (v Semaphore) StateText() string {
	if v.State == Resized && v.Declared > 0 {
		return fmt.Sprintf("resized %d→%d", v.Declared, v.Capacity)
	}
	return v.State
}

// Brief is a duration for people, with two figures or so.
func Brief(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Brief(-d)
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		if text := d.Round(time.Second).String(); !strings.HasSuffix(text, "m0s") {
			return text
		}
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

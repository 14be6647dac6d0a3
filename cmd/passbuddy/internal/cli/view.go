package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// What is printed of a semaphore, as JSON and in tables. Times are by the server's clock.

type semaphoreView struct {
	Name      string     `json:"name"`
	State     string     `json:"state"` // ok, paused, resized, over, stuck
	Capacity  int        `json:"capacity"`
	Declared  int        `json:"declared_capacity"` // by the process with the latest grant
	TTL       float64    `json:"declared_ttl_s"`
	Held      int        `json:"held"`
	Waiting   int        `json:"waiting"`                 // callers
	Oldest    *float64   `json:"oldest_wait_s,omitempty"` // of those that are alive
	Expires   *time.Time `json:"next_expiry,omitempty"`
	asOf      time.Time
	permanent bool // somebody has declared a capacity, or an operator has set one
}

type holderView struct {
	Owner   string     `json:"owner"`
	Label   string     `json:"label,omitempty"`
	Weight  int        `json:"weight"`
	Slots   []int      `json:"slots,omitempty"`
	Asked   *time.Time `json:"asked_at,omitempty"` // by the holder's clock
	Expires time.Time  `json:"expires_at"`
	Revoked bool       `json:"revoked,omitempty"`
	ID      string     `json:"id"`
}

type waiterView struct {
	Place  int       `json:"place"`
	Owner  string    `json:"owner"`
	Label  string    `json:"label,omitempty"`
	Weight int       `json:"weight"`
	Since  time.Time `json:"since"`
	Alive  bool      `json:"alive"`
	ID     string    `json:"id"`
}

type processView struct {
	Owner   string `json:"owner"`
	Callers int    `json:"callers"`
	Places  int    `json:"places"`
}

func viewOf(s *lease.State) semaphoreView {
	v := semaphoreView{
		Name: s.Name, State: "ok", Capacity: s.Capacity, Declared: s.OtherDeclared, TTL: s.OtherTTL.Seconds(), Held: s.Held, asOf: s.ServerTime,
		permanent: s.Resized || s.OtherDeclared > 0 || len(s.Holders) > 0 || len(s.Waiters) > 0,
	}
	for _, p := range s.Waiting {
		v.Waiting += p.Callers
	}
	first := 0 // the weight of the first who is alive
	var oldest time.Time
	for _, w := range s.Waiters {
		if w.AliveUntil.Before(s.ServerTime) {
			continue
		}
		if first == 0 {
			first = w.Weight
		}
		if oldest.IsZero() || w.Since.Before(oldest) {
			oldest = w.Since
		}
	}
	v.Waiting = max(v.Waiting, len(s.Waiters))
	if !oldest.IsZero() {
		wait := s.ServerTime.Sub(oldest).Seconds()
		v.Oldest = &wait
	}
	if len(s.Holders) > 0 {
		v.Expires = &s.Holders[0].Expires
	}
	switch {
	case s.Resized && s.Capacity == 0:
		v.State = "paused"
	case s.Held > s.Capacity:
		v.State = "over"
	case first > 0 && s.Held+first <= s.Capacity && v.Oldest != nil && *v.Oldest > 2:
		v.State = "stuck"
	case s.Resized:
		v.State = "resized"
	}
	return v
}

// stateText is the state for people.
func (v semaphoreView) stateText() string {
	if v.State == "resized" && v.Declared > 0 {
		return fmt.Sprintf("resized %d→%d", v.Declared, v.Capacity)
	}
	return v.State
}

// brief is a duration with two figures or so.
func brief(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + brief(-d)
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return brief(time.Duration(*s * float64(time.Second)))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func numbers(list []int) string {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = fmt.Sprint(n)
	}
	return dash(strings.Join(text, ","))
}

func holdersOf(s *lease.State) []holderView {
	list := make([]holderView, 0, len(s.Holders))
	for _, h := range s.Holders {
		v := holderView{Owner: h.Owner, Label: h.Label, Weight: h.Weight, Slots: h.Slots, Expires: h.Expires, Revoked: h.Revoked, ID: h.ID}
		if !h.AskedAt.IsZero() {
			v.Asked = &h.AskedAt
		}
		list = append(list, v)
	}
	return list
}

func waitersOf(s *lease.State) []waiterView {
	list := make([]waiterView, 0, len(s.Waiters))
	for _, w := range s.Waiters {
		list = append(list, waiterView{w.Place, w.Owner, w.Label, w.Weight, w.Since, !w.AliveUntil.Before(s.ServerTime), w.ID})
	}
	return list
}

func processesOf(s *lease.State) []processView {
	list := make([]processView, 0, len(s.Waiting))
	for _, p := range s.Waiting {
		list = append(list, processView{p.Owner, p.Callers, p.Places})
	}
	return list
}

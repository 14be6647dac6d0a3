package leaseweb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// An action is what somebody wants to change.
type action struct {
	verb, name string
	capacity   string // of resize
	reason     string
	id         string // of revoke
	was        string // what the form showed of the capacity; empty: it does not matter
}

// An outcome is what an action has done.
type outcome struct {
	status int // of HTTP
	text   string
	before view.Semaphore
	after  view.Semaphore
}

var verbs = map[string]bool{"pause": true, "resume": true, "resize": true, "reset": true, "revoke": true}

func actionOf(w http.ResponseWriter, r *http.Request) action {
	limitBody(w, r)
	a := action{verb: r.PathValue("verb"), name: r.PathValue("name"), capacity: r.FormValue("capacity"), reason: r.FormValue("reason"), id: r.FormValue("id"), was: r.FormValue("was")}
	if a.name == "" {
		a.name = r.FormValue("name")
	}
	return a
}

// wasOf is the capacity and who has set it, to notice that somebody else has changed it meanwhile.
func wasOf(v view.Semaphore) string {
	if v.Override == nil {
		return fmt.Sprintf("%d", v.Capacity)
	}
	at := int64(0)
	if v.Override.At != nil {
		at = v.Override.At.UnixMicro()
	}
	return fmt.Sprintf("%d %d", v.Capacity, at)
}

func refused(status int, format string, args ...any) outcome {
	return outcome{status: status, text: fmt.Sprintf(format, args...)}
}

// do carries an action out. It asks Redis before, so that two who act at once do not undo each other unawares, and
// afterwards, to say what has changed.
func (h *Handler) do(ctx context.Context, a action) outcome {
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	before, err := h.summary(ctx, a.name)
	if err != nil {
		return failure(a, err)
	}
	capacity := 0
	switch n, err := strconv.Atoi(a.capacity); {
	case !before.Known:
		return refused(http.StatusNotFound, "There is no semaphore %q any more. Nothing was changed.", a.name)
	case a.verb == "resize" && (err != nil || n < 0):
		return refused(http.StatusBadRequest, "The capacity %q is no whole number from 0 on. Nothing was changed.", a.capacity)
	case a.was != "" && a.verb != "revoke" && a.was != wasOf(before):
		return refused(http.StatusConflict, "Somebody else was faster: %s. Nothing was changed; look, and try again if it is still needed.", nowText(before))
	case a.verb == "resume" && before.State != view.Paused:
		return refused(http.StatusConflict, "%s is not paused: %s. Nothing was changed.", a.name, nowText(before))
	case a.verb == "reset" && before.Override == nil:
		return refused(http.StatusConflict, "%s has the capacity that the processes declare already. Nothing was changed.", a.name)
	default:
		capacity = n
	}
	m := h.source.manager
	switch a.verb {
	case "pause":
		err = m.Pause(ctx, a.name, lease.Reason(a.reason))
	case "resume":
		err = m.Resume(ctx, a.name)
	case "resize":
		err = m.Resize(ctx, a.name, capacity, lease.Reason(a.reason))
	case "reset":
		err = m.ResetCapacity(ctx, a.name)
	case "revoke":
		err = m.Revoke(ctx, a.name, a.id)
	}
	revoked := ""
	if err == nil && a.verb == "revoke" {
		revoked = a.id
	}
	h.source.touch(a.name, revoked)
	if err != nil {
		return failure(a, err)
	}
	after, err := h.summary(ctx, a.name)
	if err != nil {
		return outcome{http.StatusOK, fmt.Sprintf("Done: %s %s. What it has changed is not known: %v", a.verb, a.name, err), before, before}
	}
	return outcome{http.StatusOK, doneText(a, before, after), before, after}
}

func (h *Handler) summary(ctx context.Context, name string) (view.Semaphore, error) {
	all, err := h.source.manager.Summaries(ctx, name)
	if err == nil {
		err = all[0].Err
	}
	if err != nil {
		return view.Semaphore{}, err
	}
	return view.OfSummary(all[0]), nil
}

func failure(a action, err error) outcome {
	var option *lease.OptionError
	switch {
	case errors.Is(err, lease.ErrUnknownID):
		return refused(http.StatusConflict, "This lease has ended meanwhile: its holder gave it back, or its time was up. Nothing was changed.")
	case errors.As(err, &option):
		return refused(http.StatusBadRequest, "%v. Nothing was changed.", err)
	}
	return refused(http.StatusServiceUnavailable, "Redis did not answer as it should, so perhaps nothing was changed (%s %s): %v", a.verb, a.name, err)
}

func nowText(v view.Semaphore) string {
	if v.Override == nil {
		return fmt.Sprintf("the capacity is %d, as the processes declare it", v.Capacity)
	}
	return overrideText(v)
}

func doneText(a action, before, after view.Semaphore) string {
	held := ""
	if after.Held > after.Capacity {
		held = fmt.Sprintf(" Permits that are held stay so until their holders give them back (%d now).", after.Held)
	}
	switch a.verb {
	case "revoke":
		return "Revoked: the holder has been told. The permit is free when the holder gives it back, at the latest when its TTL is over."
	case "pause":
		return fmt.Sprintf("Paused: the capacity was %d and is 0.%s", before.Capacity, held)
	case "resume":
		return fmt.Sprintf("Resumed: the capacity was 0 and is %d.%s", after.Capacity, held)
	case "reset":
		return fmt.Sprintf("The capacity was %d and is %d, as the processes declare it.%s", before.Capacity, after.Capacity, held)
	}
	return fmt.Sprintf("Resized: the capacity was %d and is %d.%s", before.Capacity, after.Capacity, held)
}

// act does what a form asks for, and leads back to the page, which shows what was done.
func (h *Handler) act(w http.ResponseWriter, r *http.Request) {
	a, o := h.carryOut(w, r)
	if o.status == http.StatusForbidden || !verbs[a.verb] {
		http.Error(w, o.text, o.status)
		return
	}
	to := page{name: a.name}
	id := h.notes.add(note{Text: o.text, Bad: o.status != http.StatusOK})
	target := h.href(to)
	u, _ := url.Parse(target) // of this package's making
	q := u.Query()
	q.Set("note", id)
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// carryOut does what a request asks for, where its sender may.
func (h *Handler) carryOut(w http.ResponseWriter, r *http.Request) (action, outcome) {
	a := actionOf(w, r)
	switch {
	case !verbs[a.verb]:
		return a, refused(http.StatusNotFound, "There is no action %q: pause, resume, resize, reset, revoke.", a.verb)
	case !h.mayAct(r):
		return a, refused(http.StatusForbidden, "This login may look and not act: log in with a token for acting.")
	}
	o := h.do(r.Context(), a)
	h.opts.Logger.Info("action", "verb", a.verb, "semaphore", a.name, "lease_id", a.id, "capacity", a.capacity, "reason", a.reason, "from", r.RemoteAddr, "status", o.status)
	return a, o
}

// confirm asks before an action. The page's script shows the same form in a dialog.
func (h *Handler) confirm(w http.ResponseWriter, r *http.Request) {
	verb, name, id := r.PathValue("verb"), r.FormValue("name"), r.FormValue("id")
	if !verbs[verb] || name == "" || !h.mayAct(r) {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	m := confirmModel{Base: h.opts.BasePath, Verb: verb, Name: name, ID: id, Back: h.href(page{name: name}), To: h.opts.BasePath + "/s/" + verb}
	v, err := h.summary(ctx, name)
	if err != nil {
		m.Problem = err.Error()
	}
	m.V, m.Was, m.Now = v, wasOf(v), nowText(v)
	h.write(w, http.StatusOK, "confirm", m)
}

type confirmModel struct {
	Base, Verb, Name, ID, Back, To, Was, Now string
	V                                        view.Semaphore
	Problem                                  string
}

// Notes are what actions have done, for the page that is shown next. The zero value does not work.
type notes struct {
	mu  sync.Mutex
	all map[string]note
}

type note struct {
	Text string
	Bad  bool
	at   time.Time
}

func newNotes() *notes { return &notes{all: map[string]note{}} }

// add keeps a note for some minutes, so that a reload shows it again.
func (n *notes) add(one note) (id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	one.at = time.Now()
	for id, old := range n.all {
		if one.at.Sub(old.at) > 5*time.Minute {
			delete(n.all, id)
		}
	}
	id = rand.Text()
	n.all[id] = one
	return id
}

func (n *notes) take(id string) *note {
	n.mu.Lock()
	defer n.mu.Unlock()
	if one, ok := n.all[id]; ok {
		return &one
	}
	return nil
}

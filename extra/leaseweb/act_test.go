package leaseweb

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// press sends the form of an action and returns what the next page says.
func (s *site) press(t *testing.T, name, verb string, fields url.Values) string {
	t.Helper()
	form := url.Values{"name": {name}}
	maps.Copy(form, fields)
	a := s.ask(t, "POST", "/s/"+verb, form.Encode())
	if a.StatusCode != 303 {
		t.Fatalf("%s: %d %s", verb, a.StatusCode, a.text)
	}
	html := s.ask(t, "GET", a.Header.Get("Location"), "").text
	_, after, found := strings.Cut(html, `<p class="note`)
	_, after, _ = strings.Cut(after, ">")
	text, _, _ := strings.Cut(after, "</p>")
	if !found {
		t.Fatalf("%s: the page says nothing:\n%s", verb, html)
	}
	return text
}

func capacityOf(t *testing.T, m *lease.Manager, name string) (int, bool) {
	t.Helper()
	all, err := m.Summaries(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return all[0].Capacity, all[0].Paused
}

func TestEachActionSaysWhatItHasChanged(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{AllowActions: true})
	state := func() *lease.State {
		st, err := m.Inspect(t.Context(), "gpu")
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	says := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	says(s.press(t, "gpu", "resize", url.Values{"capacity": {"5"}, "reason": {"four <more>"}}), "the capacity was 2 and is 5")
	if st := state(); st.Capacity != 5 || st.Override.Reason != "four <more>" {
		t.Errorf("%+v", st)
	}
	s.ask(t, "GET", "/s/gpu", "").must(t, 200, "set the capacity to 5").must(t, 200, "four &lt;more&gt;")
	says(s.press(t, "gpu", "pause", nil), "Paused: the capacity was 5 and is 0. Permits that are held stay so until their holders give them back (1 now)")
	s.ask(t, "GET", "/s/gpu", "").must(t, 200, "confirm/resume?name=gpu")
	says(s.press(t, "gpu", "resume", nil), "Resumed: the capacity was 0 and is 5")
	says(s.press(t, "gpu", "resume", nil), "is not paused")
	says(s.press(t, "gpu", "reset", nil), "The capacity was 5 and is 2, as the processes declare it")
	says(s.press(t, "gpu", "reset", nil), "already")
	says(s.press(t, "gpu", "resize", url.Values{"capacity": {"many"}}), "no whole number")
	says(s.press(t, "gpu", "resize", url.Values{"capacity": {"2000000"}}), "must be from 0 to")
	says(s.press(t, "nothing", "pause", nil), "no semaphore")
	id := state().Holders[0].ID
	says(s.press(t, "gpu", "revoke", url.Values{"id": {id}}), "Revoked: the holder has been told")
	redistest.Eventually(t, "the lease has gone", func(context.Context) error {
		if st := state(); len(st.Holders) > 0 && !st.Holders[0].Revoked {
			return errors.New("it is held")
		}
		return nil
	})
	says(s.press(t, "gpu", "revoke", url.Values{"id": {"018f3c00-0000-7000-8000-000000000000@gone/1~00"}}), "ended meanwhile")
	if a := s.ask(t, "POST", "/s/gpu/explode", "x=1"); a.StatusCode != 404 {
		t.Errorf("an unknown verb: %d", a.StatusCode)
	}
}

func TestOfTwoWhoActAtOnceTheSecondIsTold(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{AllowActions: true})
	form := s.ask(t, "GET", "/confirm/resize?name=gpu", "").must(t, 200, `name="was" value="2"`).text
	if !strings.Contains(form, "the capacity is 2, as the processes declare it") {
		t.Errorf("the question does not say what is:\n%s", form)
	}
	was := url.Values{"capacity": {"7"}, "was": {"2"}, "reason": {"first"}}
	if got := s.press(t, "gpu", "resize", was); !strings.Contains(got, "is 7") {
		t.Error(got)
	}
	was.Set("capacity", "3")
	if got := s.press(t, "gpu", "resize", was); !strings.Contains(got, "Somebody else was faster") || !strings.Contains(got, "set the capacity to 7") || !strings.Contains(got, "first") {
		t.Error(got)
	}
	if n, _ := capacityOf(t, m, "gpu"); n != 7 {
		t.Errorf("capacity %d", n)
	}
}

func TestManyActionsAtOnceBreakNothing(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{AllowActions: true})
	state, err := m.Inspect(t.Context(), "gpu")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			verb := []string{"pause", "resume", "revoke", "resize"}[i%4]
			a := s.ask(t, "POST", "/api/v1/semaphores/gpu/"+verb, url.Values{"capacity": {"4"}, "id": {state.Holders[0].ID}}.Encode())
			if a.StatusCode != 200 && a.StatusCode != 409 {
				t.Errorf("%s: %d %s", verb, a.StatusCode, a.text)
			}
		})
	}
	all.Wait()
	s.ask(t, "GET", "/s/gpu", "").must(t, 200, "gpu")
}

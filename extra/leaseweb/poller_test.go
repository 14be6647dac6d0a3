package leaseweb

import "testing"

func TestWhoHasJustComeIsShownWhatWasAskedForThem(t *testing.T) {
	p := newPoller(nil, func(of page) []byte { return []byte(of.name) })
	gpu, list := page{name: "gpu"}, page{order: "name"}
	v := &viewer{page: gpu, mailbox: make(chan []byte, 1)}
	p.viewers[v] = true
	got := func() string {
		select {
		case b := <-v.mailbox:
			return string(b)
		default:
			return ""
		}
	}
	for i, step := range []struct {
		asked []page
		want  string
	}{{nil, ""}, {[]page{list}, ""}, {[]page{list, gpu}, "gpu"}, {nil, "gpu"}} {
		p.publish(step.asked)
		if g := got(); g != step.want {
			t.Errorf("%d: %q, want %q", i, g, step.want)
		}
	}
}

func TestAMailboxHasTheLatestSnapshotAlone(t *testing.T) {
	v := &viewer{mailbox: make(chan []byte, 1)}
	for _, s := range []string{"1", "2", "3"} {
		v.post([]byte(s))
	}
	if got := string(<-v.mailbox); got != "3" || len(v.mailbox) != 0 {
		t.Errorf("%q, and %d more", got, len(v.mailbox))
	}
}

func TestSoManyMayLookAndNoMore(t *testing.T) {
	p := newPoller(nil, nil)
	p.running = true // nobody asks Redis
	for range maxViewers {
		if _, ok := p.join(page{}); !ok {
			t.Fatal("refused")
		}
	}
	if _, ok := p.join(page{}); ok {
		t.Errorf("%d look", maxViewers+1)
	}
}

package leaseweb

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// events streams snapshots of a page as server-sent events, until the viewer leaves or Shutdown.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	v, ok := h.poller.join(h.pageOf(r))
	if !ok {
		http.Error(w, "Too many look at this page, or it is being shut down.", http.StatusServiceUnavailable)
		return
	}
	defer h.poller.leave(v)
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("X-Accel-Buffering", "no") // else nginx collects what should go out at once
	out := http.NewResponseController(w)
	send := func(b []byte) error {
		// A ResponseWriter that cannot have a deadline belongs to a service with limits of its own.
		_ = out.SetWriteDeadline(time.Now().Add(h.patience))
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
	// The stream's deadlines are not the next request's on this connection.
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }()
	if send([]byte("retry: 2000\n\n")) != nil {
		return
	}
	for {
		select {
		case snapshot := <-v.mailbox:
			if send(snapshot) != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-h.poller.ctx.Done():
			return
		}
	}
}

// snapshot is a page's changing part as an event.
func (h *Handler) snapshot(of page) []byte {
	title, html := h.fragment(of)
	var b bytes.Buffer
	b.WriteString("data: ")
	enc := json.NewEncoder(&b) // writes no line break but one at the end
	enc.SetEscapeHTML(false)   // it stands in no HTML
	_ = enc.Encode(struct {    // strings can always be encoded
		Title string `json:"title"`
		HTML  string `json:"html"`
	}{title, html})
	b.WriteString("\n")
	return b.Bytes()
}

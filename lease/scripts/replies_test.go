package scripts

import (
	"strings"
	"testing"
)

// A proxy or an emulation of Redis may cut a reply short.
func TestAReplyThatIsTooShortIsAnErrorThatNamesTheVerb(t *testing.T) {
	for _, tc := range []struct {
		verb  Verb
		whole []int64
	}{
		{Release, []int64{0}},
		{Renew, []int64{1, 2, 0}},
		{Acquire, []int64{1, 0, 2, 3, 4, 5}},
		{Acquire, []int64{1, int64(details), 2, 3, 4, 5, 1, 1, 0, 0, 0, 0}},
		{Acquire, []int64{1, int64(Late)}},
	} {
		read := map[Verb]func([]int64) error{
			Release: func(r []int64) error { _, err := ReleaseReply(r); return err },
			Renew:   func(r []int64) error { _, err := RenewReply(r); return err },
			Acquire: func(r []int64) error { _, err := AcquireReply(r, 2, nil); return err },
		}[tc.verb]
		for n := range tc.whole {
			if err := read(tc.whole[:n]); err == nil || !strings.Contains(err.Error(), tc.verb.String()) {
				t.Errorf("%v with %d integers: %v", tc.verb, n, err)
			}
		}
		if err := read(tc.whole); err != nil {
			t.Error(err)
		}
		if tc.verb != Renew {
			if err := read(append(tc.whole, 0)); err == nil {
				t.Errorf("%v with an integer too many is taken", tc.verb)
			}
		}
	}
}

func TestAnOperatorsReplyThatIsNotWhatWasPromisedIsAnErrorThatNamesTheVerb(t *testing.T) {
	page := []any{"id", "1"}
	for _, tc := range []struct {
		verb  Verb
		read  func([]any) error
		whole []any
	}{
		{Resize, func(r []any) error { _, err := ResizeReply(r); return err }, []any{int64(1), int64(0)}},
		{Revoke, func(r []any) error { _, err := RevokeReply(r); return err }, []any{int64(1), int64(0)}},
		{Inspect, func(r []any) error { _, err := InspectReply(r); return err },
			[]any{int64(1), int64(-1), int64(0), int64(0), int64(1), int64(1), page, []any{"id", "1", "2", "3"}, []any{"0", "id"}, []any{"me", "1", "why", "2"}}},
		{Summarize, func(r []any) error { _, err := SummarizeReply(r); return err },
			[]any{int64(1), int64(-1), int64(0), int64(0), int64(1), int64(1), int64(1), int64(1), int64(1), int64(1), []any{"me", "1", "why", "2"}}},
	} {
		var bad [][]any
		for n := range tc.whole {
			odd := append([]any{}, tc.whole...)
			odd[n] = nil
			mixed := append([]any{}, tc.whole...)
			mixed[n] = []any{int64(1), int64(2), int64(3), int64(4), int64(5), int64(6), int64(7), int64(8)}
			cut := append([]any{}, tc.whole...)
			cut[n] = []any{"id"}
			wordy := append([]any{}, tc.whole...)
			wordy[n] = []any{"id", "no number", "nor this", "id", "id", "no number", "nor this", "nor that"}
			bad = append(bad, tc.whole[:n], odd, mixed, cut, wordy)
		}
		for _, reply := range append(bad, append(tc.whole, int64(0))) {
			if err := tc.read(reply); err == nil || !strings.Contains(err.Error(), tc.verb.String()) {
				t.Errorf("%v with %v: %v", tc.verb, reply, err)
			}
		}
		if err := tc.read(tc.whole); err != nil {
			t.Error(err)
		}
	}
	if _, err := RevokeReply([]any{int64(4), int64(0)}); err == nil {
		t.Error("an outcome that there is not is taken")
	}
}

func TestRepliesMeanWhatTheScriptsSay(t *testing.T) {
	r, err := AcquireReply([]int64{7, int64(details | More), 20, 21, WasRevoked, 0, 5, 4, 3, 2, 1, 9}, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, full := r.Details()
	if r.ServerTime != 7 || !r.Status.Has(More) || r.Status.Has(Late) || r.Answer(0) != (Answer{20, 21}) || r.Answer(1) != (Answer{WasRevoked, 0}) || !full || d != (Details{5, 4, 3, 2, 1, 9}) {
		t.Errorf("%+v, %+v", r, d)
	}
	renewed, err := RenewReply([]int64{7, 8, int64(More), 1, -3})
	if err != nil || renewed.ServerTime != 7 || renewed.Expiry != 8 || len(renewed.Lost) != 2 || renewed.Lost[1] != -3 {
		t.Errorf("%+v, %v", renewed, err)
	}
}

package lease

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Inspect lists grants, and Revoke takes what people find in Redis: no member is revoked alone.
func TestInspectAndRevokeKnowGrantsNotTheirMembers(t *testing.T) {
	var state State
	id := "00000000-0000-7000-8000-000000000001@me~1" + "#2"
	counted, listed := map[string]bool{}, map[string]bool{}
	for _, member := range []string{id + ",1", id + ",2", "revoked," + "00000000-0000-7000-8000-000000000001@you~2", "revoked," + "00000000-0000-7000-8000-000000000002@you~2" + "#2,1", "revoked," + "00000000-0000-7000-8000-000000000002@you~2" + "#2,2", "node"} {
		state.addHolder(counted, listed, member, 2_000_000, 1)
	}
	var got []string
	for _, h := range state.Holders {
		got = append(got, fmt.Sprint(strings.TrimPrefix(h.ID, "00000000-0000-7000-8000-"), " ", h.Weight, " ", h.Revoked))
	}
	want := []string{"000000000001@me~1#2 2 false", "000000000001@you~2 1 true", "000000000002@you~2#2 2 true", "node 1 false"}
	if !slices.Equal(got, want) || state.Held != 6 {
		t.Errorf("held %d by %q, want %q", state.Held, got, want)
	}
	for _, member := range []string{id, id + ",1", "revoked," + id + ",2"} {
		if got, _ := grantOf(member); got != id {
			t.Errorf("%s is of %s, want %s", member, got, id)
		}
	}
}

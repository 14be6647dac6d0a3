package redistest

import (
	"context"
	"strconv"
	"testing"
)

func TestFailOverMakesTheReplicaTheMaster(t *testing.T) {
	t.Parallel()
	set := StartSentinel(t)
	client := set.Client(t)
	mustSet(t, client, "k", "v")
	// A failover may lose what the replica has not got yet.
	set.AwaitReplication()

	replica := set.Replica()
	old := set.FailOver()
	if old == replica || old.PID() != 0 {
		t.Fatalf("FailOver left %s up", old.Addr())
	}
	if next := set.AwaitNewMaster(old); next != replica || set.Master() != next || set.Replica() != old {
		t.Errorf("master is %s, want the former replica %s", set.Master().Addr(), replica.Addr())
	}
	eventually(t, "the client follows the master", func(ctx context.Context) error {
		return client.Set(ctx, "after", "v", 0).Err()
	})
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("GET after the failover: %q, %v", got, err)
	}
}

func TestWhatWasReplicatedCanBeReadAtOnce(t *testing.T) {
	t.Parallel()
	set := StartSentinel(t)
	master, replica := set.Master().Client(t), set.Replica()
	client := replica.Client(t)
	for i := range 20 {
		want := strconv.Itoa(i)
		replica.Pause()
		mustSet(t, master, "k", want)
		replica.Resume()
		set.AwaitReplication()
		if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != want {
			t.Fatalf("the replica has %q, %v; want %q", got, err, want)
		}
	}
}

func TestPausedMasterComesBackAsAReplica(t *testing.T) {
	t.Parallel()
	set := StartSentinel(t)
	old := set.Master()
	old.Pause()
	next := set.AwaitNewMaster(old)
	old.Resume()

	client := old.Client(t)
	eventually(t, "the old master follows the new one", func(ctx context.Context) error {
		return showsRole(ctx, client, "slave")
	})
	if set.Master() != next {
		t.Errorf("master is %s, want %s", set.Master().Addr(), next.Addr())
	}
}

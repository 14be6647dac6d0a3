package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// StopFollowing has the replica s lag behind its master, from which it gets nothing any more, until it follows again. It
// stays a replica, which may take over. (To pause it would not do: what the master sends meanwhile lies in its socket.)
func (s *Server) StopFollowing(master *Server) {
	s.t.Helper()
	s.follow("nobody", "nothing") // the master refuses it
	ctx, replica := s.t.Context(), s.Client(s.t)
	if err := master.Client(s.t).Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
		s.t.Fatalf("redistest: closing the replica's connection: %v", err)
	}
	eventually(s.t, "the replica has lost its master", func(ctx context.Context) error {
		got, err := showsReplication(ctx, replica)
		if err == nil && got["master_link_status"] != "down" {
			err = fmt.Errorf("the replica shows %v", got)
		}
		return err
	})
}

// Follow ends StopFollowing.
func (s *Server) Follow() {
	s.t.Helper()
	s.follow("", "")
}

func (s *Server) follow(user, password string) {
	s.t.Helper()
	client := s.Client(s.t)
	for name, value := range map[string]string{"masteruser": user, "masterauth": password} {
		if err := client.ConfigSet(s.t.Context(), name, value).Err(); err != nil {
			s.t.Fatalf("redistest: %s: %v", name, err)
		}
	}
}

// AwaitStream returns when the master sends its writes to its only replica s, and s applies them. That the link is up does
// not say so, and neither does WAIT for a write that was in the copy: for up to a second after a replica has loaded its copy
// the master sends it nothing more. In that second a failover loses every write, and no replica acknowledges any.
func (s *Server) AwaitStream(master *Server) {
	s.t.Helper()
	client := master.Client(s.t)
	eventually(s.t, "the replica has its copy", func(ctx context.Context) error {
		of, err := showsReplication(ctx, client)
		if err == nil && !strings.Contains(of["slave0"], "state=online") {
			err = fmt.Errorf("the master shows %v", of)
		}
		return err
	})
	// A WAIT for more replicas than there are makes the master ask its replica in the stream, and writes no key.
	if err := client.Wait(s.t.Context(), 2, time.Millisecond).Err(); err != nil {
		s.t.Fatalf("redistest: WAIT: %v", err)
	}
	s.AwaitReplication(master)
}

// AwaitReplication returns when the replica s has all that the master had carried out before the call. It compares how far
// both are: WAIT answers for the writes of its own connection only, and at once where there are none.
func (s *Server) AwaitReplication(master *Server) {
	s.t.Helper()
	of, err := showsReplication(s.t.Context(), master.Client(s.t))
	if err != nil {
		s.t.Fatalf("redistest: the master's replication: %v", err)
	}
	want, err := strconv.ParseInt(of["master_repl_offset"], 10, 64)
	if err != nil {
		s.t.Fatalf("redistest: the master's replication: %v", err)
	}
	client := s.Client(s.t)
	eventually(s.t, "the replica has what the master has", func(ctx context.Context) error {
		got, err := showsReplication(ctx, client)
		if err != nil {
			return err
		}
		offset, err := strconv.ParseInt(got["slave_repl_offset"], 10, 64)
		if err != nil || offset < want || got["master_replid"] != of["master_replid"] {
			return fmt.Errorf("the master was at %d of %s, the replica shows %v", want, of["master_replid"], got)
		}
		return nil
	})
}

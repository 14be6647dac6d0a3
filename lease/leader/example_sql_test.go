package leader_test

import (
	"context"
	"database/sql"
	"errors"
	"log"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leader"
)

var errSuperseded = errors.New("a later leader has written")

// savePlan writes the plan, unless a later leader has written one: the row keeps the token of the last write.
func savePlan(ctx context.Context, db *sql.DB, token int64, plan string) error {
	result, err := db.ExecContext(ctx, `UPDATE plans SET plan = $1, token = $2 WHERE id = 1 AND token <= $2`, plan, token)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errSuperseded)
	}
	return nil
}

// The token in a SQL statement: what a leader sent before it was cut off may arrive when another leads, and changes nothing
// then.
func Example_tokenInAStatement() {
	var db *sql.DB              // of your database
	var one *lease.Semaphore    // with a capacity of 1
	ctx := context.Background() // until SIGTERM

	err := leader.Run(ctx, one, func(ctx context.Context) error {
		token := lease.FromContext(ctx).Token() // larger than that of every leader before
		for tick := time.Tick(time.Minute); ; {
			select {
			case <-ctx.Done():
				return context.Cause(ctx) // the leadership is over; Run campaigns again
			case <-tick:
				if err := savePlan(ctx, db, token, "the next plan"); err != nil {
					return err
				}
			}
		}
	}, leader.Options{})
	log.Fatal(err)
}

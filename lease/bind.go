package lease

import "context"

// A BindOption changes what Bind returns.
type BindOption func(*bindOptions)

type bindOptions struct{ release bool }

// ReleaseOnComplete gives the permit back after each call, or rather after the last of those that run at
// the same time.
func ReleaseOnComplete() BindOption { return func(o *bindOptions) { o.release = true } }

// Bind returns a function that runs fn as a user of p: it takes the permit unless it is held, passes fn a
// context that ends with the lease, and is done when fn has returned, panicked or called runtime.Goexit.
// The permit stays taken, unless ReleaseOnComplete says otherwise. See Permit.Use for the wait and its
// errors. The function is safe for concurrent use if fn is.
//
// It returns what fn returns. When the lease was lost before fn returned, the error matches that too, as
// that of Semaphore.Do does. A nil p or fn is an error of every call.
//
// What fn returns must be complete. A result that is read later, such as *sql.Rows, an open response body
// or an iterator, is read without the permit, and its context has ended: read it inside fn.
func Bind[A, R any](p *Permit, fn func(context.Context, A) (R, error), opts ...BindOption) func(context.Context, A) (R, error) {
	var o bindOptions
	for _, opt := range opts {
		opt(&o)
	}
	return func(ctx context.Context, arg A) (result R, err error) {
		switch {
		case p == nil:
			return result, &OptionError{"p", "nil", "pass the permit to use"}
		case fn == nil:
			return result, &OptionError{"fn", "nil", "pass the function to run"}
		}
		used, done, err := p.Use(ctx)
		if err != nil {
			return result, err
		}
		l, returned := FromContext(used), false
		defer func() {
			lost := l.lostMeanwhile()
			done()
			if o.release {
				p.ReleaseAsync()
			}
			if returned {
				err = withLoss(err, lost)
			}
		}()
		result, err = fn(used, arg)
		returned = true
		return result, err
	}
}

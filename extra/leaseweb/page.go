package leaseweb

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

// A page is what somebody looks at: the list, with a search, or one semaphore. It can be a map's key: all who look at
// the same page get the same.
type page struct {
	name string // of the one semaphore; empty: the list

	search, order string
	number        int // of the list's page

	lanes, leases, queue int // which page of each, of one semaphore
	span                 time.Duration

	act bool // there are buttons
}

const (
	perPage = 50 // of the list, and of the leases and the queue of one semaphore
	perView = 32 // lanes

	maxSearch = 512
)

var spans = []time.Duration{2 * time.Minute, 10 * time.Minute}

// pageOf reads a page from a request. What makes no sense is what it is without it.
func (h *Handler) pageOf(r *http.Request) page {
	q := r.URL.Query()
	number := func(key string) int {
		n, err := strconv.Atoi(q.Get(key))
		if err != nil || n < 1 || n > 1_000_000 {
			return 0
		}
		return n - 1
	}
	p := page{act: h.mayAct(r)}
	if p.name = r.PathValue("name"); p.name == "" {
		p.name = q.Get("name")
	}
	if p.name == "" {
		p.search, p.order, p.number = q.Get("search"), q.Get("sort"), number("page")
		if len(p.search) > maxSearch {
			p.search = "" // longer than any name
		}
		if _, known := orders[p.order]; !known {
			p.order = "name"
		}
		return p
	}
	p.lanes, p.leases, p.queue, p.span = number("lanes"), number("leases"), number("queue"), spans[0]
	for _, span := range spans {
		if q.Get("span") == span.String() {
			p.span = span
		}
	}
	return p
}

// orders are those of the command, and trouble first.
var orders = func() map[string]func(a, b view.Semaphore) int {
	all := map[string]func(a, b view.Semaphore) int{"state": byState}
	for name, order := range view.Orders {
		all[name] = order
	}
	return all
}()

// query is what pageOf reads.
func (p page) query() string {
	q := url.Values{}
	set := func(key string, n int) {
		if n > 0 {
			q.Set(key, strconv.Itoa(n+1))
		}
	}
	if p.search != "" {
		q.Set("search", p.search)
	}
	if p.order != "" && p.order != "name" {
		q.Set("sort", p.order)
	}
	set("page", p.number)
	set("lanes", p.lanes)
	set("leases", p.leases)
	set("queue", p.queue)
	if p.span != 0 && p.span != spans[0] {
		q.Set("span", p.span.String())
	}
	if p.name != "" && pathOf(p.name) == "/s/" {
		q.Set("name", p.name)
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// href is the page's address.
func (h *Handler) href(p page) string {
	if p.name == "" {
		return h.opts.BasePath + "/" + p.query()
	}
	return h.opts.BasePath + pathOf(p.name) + p.query()
}

// streamOf is the address of the page's events.
func (h *Handler) streamOf(p page) string {
	q, _ := url.ParseQuery(p.query()[min(1, len(p.query())):])
	if p.name != "" {
		q.Set("name", p.name)
	}
	return h.opts.BasePath + "/events?" + q.Encode()
}

// pathOf is the path of one semaphore's page. A name may contain anything but braces and control characters. What a browser
// would take for "this folder" or "the one above" goes into the query.
func pathOf(name string) string {
	if name == "." || name == ".." {
		return "/s/"
	}
	return "/s/" + url.PathEscape(name)
}

// cut returns page number of the list, and the number of the page, which is the last where there are fewer.
func cut[E any](all []E, number, size int) ([]E, int) {
	number = min(number, max(0, (len(all)-1)/size))
	return all[number*size : min(len(all), (number+1)*size)], number
}

// A pager leads to the other pages of a list.
type pager struct {
	Of             string // what is listed
	First, Last    int    // that are shown, from 1
	Total          int
	Previous, Next string // empty: there is none
}

func pagerOf(of string, number, size, total int, href func(number int) string) pager {
	p := pager{Of: of, First: min(number*size+1, total), Last: min((number+1)*size, total), Total: total}
	if number > 0 {
		p.Previous = href(number - 1)
	}
	if p.Last < total {
		p.Next = href(number + 1)
	}
	return p
}

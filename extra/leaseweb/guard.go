package leaseweb

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
)

// policy is the Content-Security-Policy: all that the page uses comes from this server, and no other page shows it in
// a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with that, browsers send "Origin: null" with the page's own forms.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// checkHost refuses names that Options.Hosts does not list.
func (h *Handler) checkHost(next http.Handler) http.Handler {
	if h.opts.Hosts == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := hostOf(r.Host); !h.mayServe(host, r) {
			http.Error(w, fmt.Sprintf("This server does not serve the host %q. If people are to reach it by that name, start it with --public-host %s.", host, host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *Handler) mayServe(host string, r *http.Request) bool {
	if slices.ContainsFunc(h.opts.Hosts, func(one string) bool { return strings.EqualFold(one, host) }) {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return false
	}
	// No other site's name is an address, so the address that the connection has reached is right.
	ip := net.ParseIP(host)
	return ip != nil && ip.Equal(local.IP) || local.IP.IsLoopback() && (strings.EqualFold(host, "localhost") || ip.IsLoopback())
}

// hostOf is a Host header without the port and without brackets.
func hostOf(header string) string {
	if host, _, err := net.SplitHostPort(header); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
}

// A Token is a password of the page: 16 characters or more, best random ones.
type Token struct {
	Secret string
	Act    bool // who has it may also act, where Options.AllowActions is set
}

func checkTokens(tokens []Token) error {
	for i, t := range tokens {
		if len(t.Secret) < 16 {
			return fmt.Errorf("leaseweb: Options.Tokens[%d]: it has %d characters; use 16 or more, such as what `openssl rand -hex 16` prints", i, len(t.Secret))
		}
	}
	return nil
}

const cookieName = "passbuddy"

// cookieOf is what the browser keeps in place of the token: it ends when the token does, and does not tell it.
func cookieOf(t Token) string {
	mac := hmac.New(sha256.New, []byte(t.Secret))
	mac.Write([]byte("passbuddy page cookie 1"))
	return hex.EncodeToString(mac.Sum(nil))
}

// tokenOf finds the token that a request carries, in its cookie or as "Authorization: Bearer".
func (h *Handler) tokenOf(r *http.Request) (Token, bool) {
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return h.tokenBySecret(strings.TrimSpace(bearer))
	}
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return Token{}, false
	}
	for _, t := range h.opts.Tokens {
		if subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(cookieOf(t))) == 1 {
			return t, true
		}
	}
	return Token{}, false
}

func (h *Handler) tokenBySecret(secret string) (Token, bool) {
	given := sha256.Sum256([]byte(secret))
	for _, t := range h.opts.Tokens {
		if want := sha256.Sum256([]byte(t.Secret)); subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
			return t, true
		}
	}
	return Token{}, false
}

// checkToken asks for a token, where there are any. A browser that opens a page is shown where to type it.
func (h *Handler) checkToken(next http.Handler) http.Handler {
	if len(h.opts.Tokens) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := h.tokenOf(r); ok {
			next.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
			h.showLogin(w, r.URL.RequestURI(), "", http.StatusUnauthorized)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="passbuddy"`)
		http.Error(w, "A token is needed: log in at "+h.opts.BasePath+"/login, or send Authorization: Bearer TOKEN.", http.StatusUnauthorized)
	})
}

// mayAct reports whether the request's sender may change something.
func (h *Handler) mayAct(r *http.Request) bool {
	switch {
	case !h.opts.AllowActions:
		return false
	case h.opts.MayAct != nil:
		return h.opts.MayAct(r)
	case len(h.opts.Tokens) == 0:
		return true
	}
	t, ok := h.tokenOf(r)
	return ok && t.Act
}

func (h *Handler) loginPage(w http.ResponseWriter, r *http.Request) {
	h.showLogin(w, r.FormValue("to"), "", http.StatusOK)
}

func (h *Handler) showLogin(w http.ResponseWriter, to, problem string, status int) {
	h.write(w, status, "login", struct{ To, Problem string }{to, problem})
}

func (h *Handler) login(w http.ResponseWriter, r *http.Request) {
	limitBody(w, r)
	to := r.FormValue("to")
	t, ok := h.tokenBySecret(strings.TrimSpace(r.FormValue("token")))
	if !ok {
		h.showLogin(w, to, "This token is not known.", http.StatusUnauthorized)
		return
	}
	h.setCookie(w, r, cookieOf(t), 0)
	if !isHere(to) {
		to = "/"
	}
	http.Redirect(w, r, h.opts.BasePath+to, http.StatusSeeOther)
}

// isHere reports whether an address is one of this page, as browsers read it: they drop control characters, and take \ for /.
func isHere(to string) bool {
	return strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && !strings.ContainsFunc(to, func(r rune) bool { return r == '\\' || unicode.IsControl(r) })
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	h.setCookie(w, r, "", -1)
	http.Redirect(w, r, h.opts.BasePath+"/login", http.StatusSeeOther)
}

func (h *Handler) setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, MaxAge: maxAge, Path: h.opts.BasePath + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// limitBody bounds a form: how long it is, and how long it takes to come. The server's own limits must not, because streams
// last.
func limitBody(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
}

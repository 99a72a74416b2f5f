package reports_test

import (
	"errors"
	"testing"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Who is no administrator sees their own, and what is another's looks as if it were not there.
func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, bob := h.user(t, "ada"), h.user(t, "bob")
	own, other := shot{id: newID(), user: ada, session: "a", prompt: "Own"}, shot{id: newID(), user: bob, session: "b", prompt: "Other"}
	h.store(t, append(own.records(), other.records()...)...)
	viewer := reports.Viewer{UserID: ada}
	bobs, err := h.FindSession(t.Context(), reports.Operator(), "b")
	if err != nil {
		t.Fatal(err)
	}
	page, err := h.Sessions(t.Context(), viewer, reports.SessionFilter{})
	if err != nil || len(page.Sessions) != 1 || page.Sessions[0].Title != "Own" {
		t.Errorf("sessions %+v, %v", page, err)
	}
	if page, err := h.Sessions(t.Context(), viewer, reports.SessionFilter{Text: "other"}); err != nil || len(page.Sessions) != 0 {
		t.Errorf("search %+v, %v", page, err)
	}
	if o, err := h.Overview(t.Context(), viewer, reports.Query{Range: around}, reports.ByUser); err != nil || o.Total.Requests != 1 || len(o.Users) != 1 {
		t.Errorf("overview %+v, %v", o, err)
	}
	if list, err := h.Interceptions(t.Context(), viewer, reports.InterceptionFilter{Range: around}); err != nil || len(list.Interceptions) != 1 {
		t.Errorf("interceptions %+v, %v", list, err)
	}
	if d, err := h.Interception(t.Context(), viewer, own.id); err != nil || d.Total.USD.String() != "0.0075" || d.SessionID == 0 || d.Interception.Prompts[0].Prompt != "Own" {
		t.Errorf("interception %+v, %v", d, err)
	}
	for name, look := range map[string]func(v reports.Viewer) error{
		"sessions": func(v reports.Viewer) error {
			_, err := h.Sessions(t.Context(), v, reports.SessionFilter{UserID: bob})
			return err
		},
		"timeline": func(v reports.Viewer) error { _, err := h.Timeline(t.Context(), v, bobs, ""); return err },
		"find":     func(v reports.Viewer) error { _, err := h.FindSession(t.Context(), v, other.id); return err },
		"overview": func(v reports.Viewer) error {
			_, err := h.Overview(t.Context(), v, reports.Query{Range: around, UserID: bob}, reports.ByModel)
			return err
		},
		"breakdown": func(v reports.Viewer) error {
			_, err := h.Breakdown(t.Context(), v, reports.Query{Range: around, UserID: bob}, "session")
			return err
		},
		"interceptions": func(v reports.Viewer) error {
			_, err := h.Interceptions(t.Context(), v, reports.InterceptionFilter{Range: around, UserID: bob})
			return err
		},
		"interception": func(v reports.Viewer) error { _, err := h.Interception(t.Context(), v, other.id); return err },
	} {
		for _, v := range []reports.Viewer{viewer, {}} {
			if err := look(v); !errors.Is(err, reports.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := h.AccessLog(t.Context(), viewer, 10); !errors.Is(err, reports.ErrNotFound) {
		t.Errorf("the access log: %v", err)
	}
	for _, id := range []string{newID(), "1", ""} {
		if _, err := h.Interception(t.Context(), viewer, id); !errors.Is(err, reports.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// Each look of an administrator at what another one wrote is noted, also one at a list.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, bob := h.user(t, "ada"), h.user(t, "bob")
	own, other := shot{id: newID(), user: ada, session: "a", prompt: "Own"}, shot{id: newID(), user: bob, session: "b", prompt: "Other"}
	h.store(t, append(own.records(), other.records()...)...)
	admin := reports.Viewer{UserID: ada, APIKeyID: "abcdefghij", Admin: true}
	for _, v := range []reports.Viewer{admin, reports.Operator()} {
		for _, id := range []string{own.id, other.id} {
			if _, err := h.Interception(t.Context(), v, id); err != nil {
				t.Fatal(err)
			}
			session, err := h.FindSession(t.Context(), v, id)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Timeline(t.Context(), v, session, ""); err != nil {
				t.Fatal(err)
			}
		}
		for _, user := range []string{"", ada, bob} {
			if _, err := h.Sessions(t.Context(), v, reports.SessionFilter{UserID: user, Text: "other"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	log, err := h.AccessLog(t.Context(), admin, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range log {
		if a.Viewer != "ada" || a.APIKeyID != "abcdefghij" || a.At.IsZero() {
			t.Errorf("%+v", a)
		}
		subject := a.Subject
		if subject == other.id {
			subject = "its id"
		}
		got = append(got, a.Kind+" "+a.User+" "+subject)
	}
	want := []string{"sessions bob other", "sessions  other", "session bob 2", "interception bob its id"}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

"""Run + predictions → one self-contained HTML file."""

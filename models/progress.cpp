#include "models/progress.h"

#include <unistd.h>

#include <algorithm>

namespace gradus {
namespace {

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string clock_text(double seconds) {
  const auto total = Index(seconds + 0.5);
  const std::string rest = std::to_string(total % 60);
  return std::to_string(total / 60) + (rest.size() < 2 ? ":0" : ":") + rest;
}

std::string rate_text(double per_second) {
  if (per_second >= 1e6) return formatted("%.1fM", per_second / 1e6);
  return per_second >= 1e3 ? formatted("%.1fk", per_second / 1e3) : formatted("%.3g", per_second);
}

std::string bar(Index step, Index total) {
  constexpr Index width = 20;
  const Index full = total > 0 ? std::min(width, width * step / total) : width;
  std::string text(std::size_t(width), ' ');
  std::fill_n(text.begin(), full, '=');
  if (full < width) text[std::size_t(full)] = '>';
  return "[" + text + "]  ";
}

Index tenth(Index step, Index total) { return total > 0 ? 10 * step / total : 10; }

}  // namespace

std::string progress_text(Index first, Index step, Index total, Index items_per_step, double seconds,
                          const std::string& values) {
  const std::string all = std::to_string(total), done = std::to_string(step);
  std::string text =
      std::string(all.size() - std::min(all.size(), done.size()), ' ') + done + "/" + all + "  " + values;
  const double steps_per_second = seconds > 0 ? double(step - first) / seconds : 0;
  if (steps_per_second <= 0) return text;
  const bool items = items_per_step > 0;
  text += "  " + rate_text(steps_per_second * double(items ? items_per_step : 1)) + (items ? " items/s" : " steps/s");
  if (step < total) text += "  " + clock_text(double(total - step) / steps_per_second) + " left";
  return text;
}

Progress::Progress(Index first, Index total, Index items_per_step, std::FILE* out)
    : first_(first),
      total_(total),
      items_(items_per_step),
      out_(out),
      terminal_(out && ::isatty(::fileno(out))),
      shown_tenth_(tenth(first, total)) {}

Progress::~Progress() {
  if (open_line_) std::fprintf(out_, "\n");
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void Progress::update(Index step, const std::string& values) {
  if (!out_) return;
  const double now = seconds();
  const bool last = step >= total_;
  const std::string text = progress_text(first_, step, total_, items_, now, values);
  if (!terminal_) {
    if (tenth(step, total_) > shown_tenth_) std::fprintf(out_, "%s\n", text.c_str());
    shown_tenth_ = tenth(step, total_);
  } else if (last || now - shown_at_ >= 0.1) {
    std::fprintf(out_, "\r\033[K%s%s%s", bar(step, total_).c_str(), text.c_str(), last ? "\n" : "");
    shown_at_ = now;
    open_line_ = !last;
  }
  std::fflush(out_);
}

void Progress::note(const std::string& line) {
  if (!out_) return;
  std::fprintf(out_, "%s%s\n", open_line_ ? "\r\033[K" : "", line.c_str());
  open_line_ = false;
  shown_at_ = -1;  // show the progress line again at once
  std::fflush(out_);
}

}  // namespace gradus

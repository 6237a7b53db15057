#include "norm_shapes.h"

#include <algorithm>
#include <cmath>

namespace onnxnorm {
namespace {

std::int64_t product(const std::vector<std::int64_t>& shape, std::size_t begin, std::size_t end) {
  std::int64_t result = 1;
  for (std::size_t i = begin; i < end; ++i) result *= shape[i];
  return result;
}

std::size_t from_front(std::int64_t axis, std::size_t rank) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

// The axes of a mean and variance, from the front and in order.
std::vector<std::size_t> sorted_axes(const NormAttributes& a, std::size_t rank) {
  std::vector<std::size_t> axes;
  for (const std::int64_t axis : a.axes) axes.push_back(from_front(axis, rank));
  std::sort(axes.begin(), axes.end());
  return axes;
}

std::string count_text(const char* what, std::int64_t count, const std::string& wanted) {
  return std::string(what) + " has " + std::to_string(count) + " elements and must have " + wanted;
}

void set_statistic(const NormAttributes& a, NormProblem& p) {
  switch (a.kind) {
    case NormKind::kGroup:
    case NormKind::kChannelLayer:
    case NormKind::kMeanVariance: p.statistic = Statistic::kLayer; break;
    case NormKind::kChannelRms: p.statistic = Statistic::kRms; break;
    case NormKind::kChannelLp: p.statistic = a.p == 1 ? Statistic::kL1 : Statistic::kL2; break;
    case NormKind::kGlobalResponse: p.statistic = Statistic::kL2; break;
    case NormKind::kAffine: p.statistic = Statistic::kNone; break;
  }
  p.outside = a.kind == NormKind::kMeanVariance;
  p.epsilon = a.epsilon;
  p.activation = static_cast<Activation>(a.activation);
  p.alpha = a.alpha;
  p.beta = a.beta;
}

}  // namespace

std::string check_attributes(NormAttributes& a) {
  if (std::isnan(a.epsilon) || std::isinf(a.epsilon)) return "epsilon must be finite";
  if (a.epsilon < 0) {
    if (a.epsilon != -1) return "epsilon must not be negative";
    a.epsilon = a.kind == NormKind::kMeanVariance    ? 1e-9f
                : a.kind == NormKind::kGlobalResponse ? 1e-6f
                : a.kind == NormKind::kChannelLp      ? 0.0f
                                                      : 1e-5f;
  }
  if (a.activation < 0 || a.activation >= kActivations)
    return "activation must be one of 0 to " + std::to_string(kActivations - 1) + ", it is " +
           std::to_string(a.activation);
  if (std::isnan(a.alpha) || std::isnan(a.beta)) return "alpha and beta must be numbers";
  if (a.kind == NormKind::kGroup && a.groups < 1) return "num_groups must be at least 1";
  if (a.kind == NormKind::kChannelLp && a.p != 1 && a.p != 2) return "p must be 1 or 2";
  if (a.kind == NormKind::kMeanVariance && a.axes.empty()) return "axes must name at least one axis";
  return {};
}

std::string check_rank(const NormAttributes& a, std::size_t rank) {
  const std::int64_t whole = static_cast<std::int64_t>(rank);
  const auto is_axis = [whole](std::int64_t axis) { return axis >= -whole && axis < whole; };
  if (a.kind == NormKind::kMeanVariance) {
    for (const std::int64_t axis : a.axes)
      if (!is_axis(axis)) return "an entry of axes is no axis of an input of rank " + std::to_string(rank);
    const std::vector<std::size_t> axes = sorted_axes(a, rank);
    for (std::size_t i = 0; i + 1 < axes.size(); ++i)
      if (axes[i + 1] != axes[i] + 1) return "axes must be a run of axes that follow each other";
    return {};
  }
  if (rank < 2) return "the input must have a batch and a channel axis, it has rank " + std::to_string(rank);
  if (a.kind == NormKind::kGroup) return {};
  if (!is_axis(a.axis)) return "axis is no axis of an input of rank " + std::to_string(rank);
  const std::size_t axis = from_front(a.axis, rank);
  if (a.kind == NormKind::kGlobalResponse && axis != 1 && axis != rank - 1) return "axis must be 1 or the last";
  return {};
}

std::string make_shape(const NormAttributes& a, const std::vector<std::int64_t>& shape, std::int64_t scales,
                       std::int64_t biases, NormShape& out) {
  const std::size_t rank = shape.size();
  if (std::string wrong = check_rank(a, rank); !wrong.empty()) return wrong;
  NormProblem p;
  set_statistic(a, p);
  const std::int64_t all = product(shape, 0, rank);
  std::int64_t channels = 1, behind = all;  // elements behind the channel axis, for each of its entries
  if (a.kind == NormKind::kMeanVariance) {
    const std::vector<std::size_t> axes = sorted_axes(a, rank);
    p.outer = product(shape, 0, axes.front());
    p.length = product(shape, axes.front(), axes.back() + 1);
    p.inner = product(shape, axes.back() + 1, rank);
  } else {
    const std::size_t axis = a.kind == NormKind::kGroup ? 1 : from_front(a.axis, rank);
    channels = shape[axis];
    behind = product(shape, axis + 1, rank);
    const std::int64_t before = product(shape, 0, axis);
    if (a.kind == NormKind::kGroup) {
      if (channels % a.groups != 0)
        return "num_groups is " + std::to_string(a.groups) + " and does not divide the " + std::to_string(channels) +
               " channels";
      p.outer = before * a.groups;
      p.length = channels / a.groups * behind;
    } else if (a.kind == NormKind::kAffine) {
      p.outer = 1;
      p.length = all;
    } else if (a.kind == NormKind::kGlobalResponse) {
      const bool last = axis == rank - 1 && axis != 1;
      out.items = shape[0];
      out.channels = channels;
      p.outer = last ? out.items : out.items * channels;
      p.length = last ? product(shape, 1, axis) : behind;
      p.inner = last ? channels : 1;
    } else {
      p.outer = before;
      p.length = channels;
      p.inner = behind;
    }
  }
  const std::int64_t groups = a.kind == NormKind::kGroup ? a.groups : channels;
  const auto fits = [&](std::int64_t count) { return count == 1 || count == channels || count == groups; };
  const std::string wanted =
      a.kind == NormKind::kMeanVariance ? "one"
      : a.kind == NormKind::kGroup      ? "one, one for each group or one for each channel"
                                        : "one, or one for each of the " + std::to_string(channels) + " channels";
  if (!fits(scales)) return count_text("the scale", scales, wanted);
  if (!fits(biases)) return count_text("the bias", biases, wanted);
  if (all > 0) {
    p.params = std::max(scales, biases);
    p.run = p.params == 1 ? all + 1 : channels / p.params * behind;
  }
  set_blocks(p);
  out.problem = p;
  if (a.kind != NormKind::kGlobalResponse || all == 0) return {};
  out.affine = p;
  out.affine.statistic = Statistic::kNone;
  if (p.outer == out.items && behind == 1) {  // the channels are the last axis
    out.affine.outer = out.items;
    out.affine.length = p.length * p.inner;
    out.affine.inner = 1;
    out.affine.run = channels == 1 ? p.length : 1;
    out.affine.params = out.affine.row_params = channels;
  } else {
    out.affine.outer = 1;
    out.affine.length = all;
    out.affine.run = behind;
    out.affine.params = out.items * channels;
  }
  set_blocks(out.affine);
  return {};
}

}  // namespace onnxnorm

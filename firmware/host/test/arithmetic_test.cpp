// The arithmetic of a processor that has none, against this one's.
#include "arithmetic.h"

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "test.h"

using namespace esphome::mww_harness;

namespace {

constexpr int CASES = 200000;

uint64_t random_bits() {
  static uint64_t state = 1;  // splitmix64
  state += 0x9E3779B97F4A7C15;
  uint64_t mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
  return mixed ^ (mixed >> 31);
}

template<typename To, typename From> To as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

/// Any bits, or bits whose exponent is near that of 1 or at an end, or few bits, or none.
template<typename Bits> Bits number() {
  using Soft = SoftFloat<Bits>;
  const uint64_t kind = random_bits() % 8;
  const Bits bits = static_cast<Bits>(random_bits());
  const Bits sign = bits & Soft::SIGN;
  const Bits fraction = bits & (Soft::HIDDEN - 1);
  const Bits low = static_cast<Bits>(random_bits() % 4);
  switch (kind) {
    case 0:
      return bits;
    case 1:  // subnormal, or nearly
      return sign | (low << Soft::FRACTION) | fraction;
    case 2:  // huge, infinite or not a number
      return sign | (static_cast<Bits>(Soft::SPECIAL - low) << Soft::FRACTION) | (random_bits() % 2 ? fraction : 0);
    case 3:
      return sign | low;
    case 4:  // few bits, for ties
      return sign | (static_cast<Bits>(Soft::BIAS + low) << Soft::FRACTION) | (fraction & ~(Soft::HIDDEN / 16 - 1));
    default:
      return sign | (static_cast<Bits>(Soft::BIAS - 30 + static_cast<int>(random_bits() % 60)) << Soft::FRACTION) |
             fraction;
  }
}

template<typename Bits> void check(Bits found, Bits expected) {
  if (SoftFloat<Bits>::is_nan(expected)) {
    CHECK(SoftFloat<Bits>::is_nan(found));
  } else {
    CHECK_EQUAL(found, expected);
  }
}

template<typename Bits, typename Float> void check_operations() {
  using Soft = SoftFloat<Bits>;
  for (int i = 0; i < CASES; i++) {
    const Bits a = number<Bits>(), b = number<Bits>();
    const Float x = as<Float>(a), y = as<Float>(b);
    check(Soft::add(a, b), as<Bits>(static_cast<Float>(x + y)));
    check(Soft::subtract(a, b), as<Bits>(static_cast<Float>(x - y)));
    check(Soft::multiply(a, b), as<Bits>(static_cast<Float>(x * y)));
    check(Soft::divide(a, b), as<Bits>(static_cast<Float>(x / y)));
    const uint32_t whole = static_cast<uint32_t>(random_bits()) >> (random_bits() % 32);
    check(Soft::from_integer(0, whole), as<Bits>(static_cast<Float>(whole)));
    check(Soft::from_integer(Soft::SIGN, whole), whole == 0 ? 0 : as<Bits>(-static_cast<Float>(whole)));
    const Float positive = std::fabs(x);
    if (positive < static_cast<Float>(4294967296.0)) {
      CHECK_EQUAL(Soft::to_integer(as<Bits>(positive)), static_cast<uint32_t>(positive));
    }
  }
  CHECK_EQUAL(Soft::to_integer(Soft::INFINITE), std::numeric_limits<uint32_t>::max());
}

}  // namespace

TEST(single_precision_is_that_of_a_floating_point_unit) { check_operations<uint32_t, float>(); }
TEST(double_precision_is_that_of_a_floating_point_unit) { check_operations<uint64_t, double>(); }

TEST(conversions_between_them_are_those_of_a_floating_point_unit) {
  for (int i = 0; i < CASES; i++) {
    const uint32_t single = number<uint32_t>();
    check(widen(single), as<uint64_t>(static_cast<double>(as<float>(single))));
    const uint64_t exact = widen(single);
    const uint64_t near = exact ^ (random_bits() % 2 ? 0x10000000 : random_bits() & 0x3FFFFFFF);
    for (const uint64_t twice : {number<uint64_t>(), exact, near}) {
      check(narrow(twice), as<uint32_t>(static_cast<float>(as<double>(twice))));
    }
  }
}

TEST(integers_are_divided_and_multiplied_as_elsewhere) {
  for (int i = 0; i < CASES; i++) {
    const uint32_t a = static_cast<uint32_t>(random_bits()) >> (random_bits() % 32);
    const uint32_t b = (static_cast<uint32_t>(random_bits()) >> (random_bits() % 32)) | 1;
    CHECK_EQUAL(divide(a, b).quotient, a / b);
    CHECK_EQUAL(divide(a, b).remainder, a % b);
    uint32_t low = 0;
    const uint32_t high = SoftFloat<uint32_t>::multiply_wide(a, b, &low);
    CHECK_EQUAL((static_cast<uint64_t>(high) << 32) | low, static_cast<uint64_t>(a) * b);
  }
  CHECK_EQUAL(divide(7, 0).quotient, 0);
}

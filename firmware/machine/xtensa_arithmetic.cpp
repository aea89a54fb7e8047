// Arithmetic that the compiler leaves to libgcc, and that Debian's libgcc for the lx106 leaves to an ESP8266's ROM.
#include <cstring>

#include "arithmetic.h"

using esphome::mww_harness::divide;
using esphome::mww_harness::SoftFloat;

namespace {

using F = SoftFloat<uint32_t>;
using D = SoftFloat<uint64_t>;

template<typename To, typename From> To as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
uint32_t bits(float value) { return as<uint32_t>(value); }
uint64_t bits(double value) { return as<uint64_t>(value); }
float single(uint32_t value) { return as<float>(value); }
double twice(uint64_t value) { return as<double>(value); }

uint32_t magnitude(int32_t value) { return value < 0 ? 0u - static_cast<uint32_t>(value) : static_cast<uint32_t>(value); }
uint64_t magnitude(int64_t value) { return value < 0 ? 0u - static_cast<uint64_t>(value) : static_cast<uint64_t>(value); }
uint64_t words(uint32_t high, uint32_t low) { return (static_cast<uint64_t>(high) << 32) | low; }

int32_t with_sign(bool negative, uint32_t value, bool is_nan) {
  if (is_nan) {
    return 0;
  }
  const uint32_t limit = 0x7FFFFFFFu + negative;
  const uint32_t held = value > limit ? limit : value;
  return static_cast<int32_t>(negative ? 0u - held : held);
}

}  // namespace

extern "C" {

uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor, uint64_t *remainder);

uint32_t __udivsi3(uint32_t a, uint32_t b) { return divide(a, b).quotient; }
uint32_t __umodsi3(uint32_t a, uint32_t b) { return divide(a, b).remainder; }
int32_t __divsi3(int32_t a, int32_t b) {
  const uint32_t quotient = divide(magnitude(a), magnitude(b)).quotient;
  return static_cast<int32_t>((a < 0) != (b < 0) ? 0u - quotient : quotient);
}
uint64_t __umulsidi3(uint32_t a, uint32_t b) {
  uint32_t low;
  const uint32_t high = F::multiply_wide(a, b, &low);
  return words(high, low);
}
int64_t __muldi3(int64_t a, int64_t b) {
  const uint64_t left = static_cast<uint64_t>(a), right = static_cast<uint64_t>(b);
  const uint32_t a0 = static_cast<uint32_t>(left), b0 = static_cast<uint32_t>(right);
  uint32_t low;
  uint32_t high = F::multiply_wide(a0, b0, &low);
  high += a0 * static_cast<uint32_t>(right >> 32) + b0 * static_cast<uint32_t>(left >> 32);
  return static_cast<int64_t>(words(high, low));
}
uint64_t __udivdi3(uint64_t a, uint64_t b) { return __udivmoddi4(a, b, nullptr); }
uint64_t __umoddi3(uint64_t a, uint64_t b) {
  uint64_t remainder;
  __udivmoddi4(a, b, &remainder);
  return remainder;
}
int64_t __divdi3(int64_t a, int64_t b) {
  const uint64_t quotient = __udivmoddi4(magnitude(a), magnitude(b), nullptr);
  return static_cast<int64_t>((a < 0) != (b < 0) ? 0u - quotient : quotient);
}

float __addsf3(float a, float b) { return single(F::add(bits(a), bits(b))); }
float __subsf3(float a, float b) { return single(F::subtract(bits(a), bits(b))); }
float __mulsf3(float a, float b) { return single(F::multiply(bits(a), bits(b))); }
double __adddf3(double a, double b) { return twice(D::add(bits(a), bits(b))); }
double __subdf3(double a, double b) { return twice(D::subtract(bits(a), bits(b))); }
double __muldf3(double a, double b) { return twice(D::multiply(bits(a), bits(b))); }
double __divdf3(double a, double b) { return twice(D::divide(bits(a), bits(b))); }

double __extendsfdf2(float a) { return twice(esphome::mww_harness::widen(bits(a))); }
float __truncdfsf2(double a) { return single(esphome::mww_harness::narrow(bits(a))); }
float __floatunsisf(uint32_t a) { return single(F::from_integer(0, a)); }
double __floatunsidf(uint32_t a) { return twice(D::from_integer(0, a)); }
float __floatsisf(int32_t a) { return single(F::from_integer(a < 0 ? F::SIGN : 0, magnitude(a))); }
double __floatsidf(int32_t a) { return twice(D::from_integer(a < 0 ? D::SIGN : 0, magnitude(a))); }
uint32_t __fixunssfsi(float a) { return (bits(a) & F::SIGN) != 0 ? 0 : F::to_integer(bits(a)); }
uint32_t __fixunsdfsi(double a) { return (bits(a) & D::SIGN) != 0 ? 0 : D::to_integer(bits(a)); }
int32_t __fixdfsi(double a) {
  return with_sign((bits(a) & D::SIGN) != 0, D::to_integer(bits(a)), D::is_nan(bits(a)));
}

}  // extern "C"

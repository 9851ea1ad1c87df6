! Fortran: procedures in modules and in other procedures. Each prints one line about itself.
module shapes
  implicit none
  integer :: total = 5
  type point
    integer :: x
    integer(2) :: y
  end type
contains
  subroutine add(x, n, p)
    integer, intent(inout) :: x
    integer, intent(in) :: n
    type(point), intent(in) :: p
    print '(a,i0,a,i0,a,i0,a,i0,a,i0)', 'add ', x, ' ', n, ' ', p%x, ' ', p%y, ' ', total
    x = x + n
    total = total + x
  end subroutine
  integer function outer(k)
    integer, intent(in) :: k
    print '(a,i0)', 'outer ', k
    outer = inner(k + 1)
  contains
    integer function inner(j)
      integer, intent(in) :: j
      print '(a,i0)', 'inner ', j
      inner = j * 2
    end function
  end function
end module
program modules
  use shapes
  implicit none
  integer :: i = 3
  call add(i, 4, point(7, -8_2))
  call add(i, -4, point(-9, 10_2))
  i = outer(20)
  print '(a,i0)', 'outer-return ', i
end program

"""Events."""

from fastapi import APIRouter

from app.api.keyed import KeyedRoute

router = APIRouter(prefix="/v1/events", tags=["Events"], route_class=KeyedRoute)
